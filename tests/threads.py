"""Several threads at once, switched between as often as the interpreter can."""

import sys
import threading

import numpy as np

ROUNDS = 30                            # of every job


def in_threads(work, n):
    """work(0), ..., work(n - 1), each in a thread of its own, all beginning together; their errors are raised here."""
    start, errors, interval = threading.Barrier(n), [], sys.getswitchinterval()

    def run(k):
        try:
            start.wait()
            work(k)
        except Exception as error:                              # an error in a thread would only be printed
            errors.append(error)
    threads = [threading.Thread(target=run, args=(k,)) for k in range(n)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]


def assert_threads_agree(job, n, rounds=ROUNDS):
    """job(0), ..., job(n - 1) again and again in n threads: the same numbers, to the last bit, as one by one."""
    alone, wrong = [job(k) for k in range(n)], []

    def work(k):
        wrong.extend(k for _ in range(rounds) if not all(map(np.array_equal, job(k), alone[k])))
    in_threads(work, n)
    assert not wrong, f"jobs that got other numbers: {wrong}"
