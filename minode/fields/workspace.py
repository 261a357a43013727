"""Appendix to chapter 4. Where the saved activations lie

A gradient saves the layers of every evaluation of f, and frees them on its way back. For a wide
batch these are hundreds of arrays of some megabytes. When memory is new, the operating
system maps it page by page as it is first touched, and this can take longer than the arithmetic
that fills it. One large block is mapped in larger pages, at a fraction of the cost. So `keep(x)`
copies each large array into a block of 64 MB, one array behind the other. A block lives as long as
any array in it, so it is gone after the gradient. Each thread has blocks of its own.
"""

import threading
import weakref

import numpy as np

BLOCK = 2**26           # bytes
SMALL = 2**16           # bytes: an array below this stays where it is


class Workspace(threading.local):
    """The block that is being filled, and how many bytes of it are in use. Only the arrays in a block keep it alive.

    >>> workspace = Workspace()
    >>> x = np.ones((100, 100))
    >>> copy = workspace.keep(x)
    >>> np.array_equal(copy, x), copy.base.nbytes == BLOCK
    (True, True)
    """

    def __init__(self):
        self.block, self.used = (lambda: None), 0

    def keep(self, x):
        """x itself if it is small, a copy of it in the block if not."""
        if x.nbytes < SMALL:
            return x
        block, start = self.block(), -(-self.used // 64) * 64
        if block is None or start + x.nbytes > block.nbytes:
            block, start = np.empty(max(BLOCK, x.nbytes), np.uint8), 0
            self.block = weakref.ref(block)
        self.used = start + x.nbytes
        copy = block[start:self.used].view(x.dtype).reshape(x.shape)
        copy[...] = x
        return copy


keep = Workspace().keep
