"""Appendix to chapter 18. What all the steps at once are made with

Where a call of NumPy costs more than its arithmetic, a hundred small arrays are handled in as
few calls as may be: their bytes are joined, and the chain (18.6) is walked in pairs. The matrices
of every two steps are multiplied for all pairs at once, every second row is walked to, and the
rows between are one more product.
"""

from itertools import accumulate

import numpy as np


class Packed(list):
    """A tape for a small system: (t, h, y, hK) for each step, hK as bytes.

    Those are quicker to make, and to join, than a hundred small arrays.
    """

    keep = staticmethod(np.ndarray.tobytes)


def joined(parts, dtype=float):
    """Arrays, or their bytes, one behind the other as one flat array."""
    return np.frombuffer(b"".join(parts), dtype)


def walk(row, matrices):
    """The row, the row times the first matrix, times the first two, and so on."""
    dot = np.ndarray.dot if row.ndim == 2 else np.matmul           # of two matrices alone dot is the quicker
    rows, pairs = np.empty((len(matrices) + 1, *row.shape)), matrices[:-1:2] @ matrices[1::2]
    rows[::2] = joined(accumulate(pairs, dot, initial=row)).reshape(-1, *row.shape)  # (18.6)
    np.matmul(rows[:-1:2], matrices[::2], rows[1::2])                              # (18.6)
    return rows
