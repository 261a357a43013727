"""Several threads at once, switched between as often as the interpreter can."""

import sys
import threading

import numpy as np

ROUNDS = 30                            # of every job


def assert_threads_agree(job, n):
    """job(0), ..., job(n - 1), each in a thread of its own: the same numbers, to the last bit, as one by one."""
    alone, wrong, interval = [job(k) for k in range(n)], [], sys.getswitchinterval()

    def work(k):
        try:
            for _ in range(ROUNDS):
                if not all(np.array_equal(a, b) for a, b in zip(job(k), alone[k])):
                    wrong.append(k)
        except Exception as error:                              # an error in a thread would only be printed
            wrong.append(repr(error))
    threads = [threading.Thread(target=work, args=(k,)) for k in range(n)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong, f"jobs that got other numbers, or an error: {wrong}"
