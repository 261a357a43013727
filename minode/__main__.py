"""`python -m minode` prints the contents of the book."""

import os
import sys
from contextlib import contextmanager

import minode

BROKEN_PIPE = 128 + 13          # what a shell says of a program whose reader went away


@contextmanager
def any_terminal():
    """What is printed inside may go anywhere.

    Letters that stdout has not become question marks. If its reader has seen enough (`| head`), the program ends
    without a word.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())       # for what Python still has to write
        sys.exit(BROKEN_PIPE)


if __name__ == "__main__":
    with any_terminal():
        print(minode.__doc__)
