"""7. A Runge–Kutta method is a table of numbers

Euler and the classical method are two of a family. A method with s stages is
given by s × s numbers a_ij, s weights b_i and s nodes c_i, written by Butcher as

    c₁ | a₁₁ … a₁ₛ
    ⋮  |  ⋮      ⋮          k_i = f(t + c_i h, y + h Σ_j a_ij k_j)
    cₛ | aₛ₁ … aₛₛ          y(t + h) ≈ y + h Σ_i b_i k_i
       | b₁  … bₛ

The weights are called `b` here as everywhere; in Part III the letter b is also
the cotangent of θ. Where both are met, in chapter 18, b_i with the number of a
stage is a weight, and b_n with the number of a step the cotangent.

A method is explicit where a_ij = 0 for j ≥ i: each stage uses those before it.

Two conditions are so basic that a table which breaks them is a misprint. A
constant velocity must be integrated exactly,

    Σ_i b_i = 1,                                                         (7.1)

and a stage must sit at the time to which its own increments carry it,

    c_i = Σ_j a_ij.                                                      (7.2)

With (7.2) it makes no difference whether time is an argument of f or one more
component of y with y' = 1, so a method has one order, not two. Both are checked
when a table is made. Of order p is a method whose step agrees with the solution
through h^p, which asks for one equation in A and b for every rooted tree with
up to p nodes: Σ b_i = 1, Σ b_i c_i = 1/2, Σ b_i c_i² = 1/3, Σ b_i a_ij c_j = 1/6
and so on, 1, 2, 4, 8, 17, 37, 85, 200 of them up to order 8 (Butcher 1963). The
tests generate the trees and check every method of the book, in exact arithmetic
where its numbers are fractions; which is why the tables hold fractions.

Some tables bring a second row of weights b̂ of another order for the same stages.
The difference of the two results estimates the error (chapter 10).

Next: the methods (chapter 8), and the one function that steps them (chapter 9).
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Tableau:
    """A Runge–Kutta method: A (s × s), weights b (s), nodes c (s), and its order.

    Numbers are given as a reader sees them printed: a row is a string like
    "3/40 9/40" or a sequence of fractions, integers or floats. Rows of A may
    leave out the zeros on and right of the diagonal, and c may be left out, for
    (7.2) gives it. `b_hat` with `embedded_order` makes the method adaptive, `b_hat_3`
    is a second estimate, of order 3. `dense` is one row for each stage with the
    coefficients of θ, θ², … in its weight (chapter 11); the stages are those of A,
    the velocity at the new state where b is not already the last row of A, and those
    of the rows `dense_A`. ValueError where shapes do not fit, an order is no positive integer,
    (7.1) or (7.2) is broken, or the dense output does not end where the step does. Butcher (1963).

    >>> ralston = Tableau("ralston", order=2, A=["", "2/3"], b="1/4 3/4")
    >>> ralston.c, ralston.is_explicit
    ((Fraction(0, 1), Fraction(2, 3)), True)
    >>> Tableau("misprint", order=2, A=["", "2/3"], b="1/4 1/4")
    Traceback (most recent call last):
    ValueError: tableau 'misprint': the weights b sum to 0.5, not 1
    """

    name: str
    order: int
    A: tuple
    b: tuple
    c: tuple = None
    b_hat: tuple = None
    embedded_order: int = None
    b_hat_3: tuple = None
    dense: tuple = None
    dense_A: tuple = ()

    def __post_init__(self):
        self._require(isinstance(self.A, (list, tuple, np.ndarray)), f"A must be a list of rows, not {self.A!r}")
        A, b, c = [_numbers(row) for row in self.A], _numbers(self.b), self.c
        s = len(b)
        for field, value in {"order": self.order, "embedded_order": self.embedded_order}.items():
            is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            self._require(is_whole and value > 0 or field == "embedded_order" and value is None,
                          f"{field} must be a positive integer, not {value!r}")
        self._require(self.b_hat is not None or self.embedded_order is None,
                      "embedded_order is for a b_hat")
        self._require(len(A) == s and all(len(row) <= s for row in A),
                      f"A has rows of {[len(row) for row in A]} numbers, b has {s}")
        A = tuple(row + (Fraction(0),) * (s - len(row)) for row in A)
        c = tuple(sum(row) for row in A) if c is None else _numbers(c)
        self._require(len(c) == s, f"c has {len(c)} numbers, b has {s}")
        self._require(_near(sum(b), 1),                                            # (7.1)
                      f"the weights b sum to {float(sum(b))}, not 1")
        for i, (row, node) in enumerate(zip(A, c)):
            self._require(_near(sum(row), node),                                   # (7.2)
                          f"row {i + 1} of A sums to {float(sum(row))}, but c is {float(node)}")
        object.__setattr__(self, "A", A)
        object.__setattr__(self, "b", b)
        object.__setattr__(self, "c", c)
        for field in ("b_hat", "b_hat_3"):
            if getattr(self, field) is not None:
                row = _numbers(getattr(self, field))
                self._require(len(row) == s, f"{field} has {len(row)} numbers, b has {s}")
                self._require(_near(sum(row), 1), f"{field} sums to {float(sum(row))}, not 1")
                self._require(self.embedded_order is not None, f"{field} needs its embedded_order")
                object.__setattr__(self, field, row)
        dense_A = tuple(_numbers(row) for row in self.dense_A)
        object.__setattr__(self, "dense_A", dense_A)
        if self.dense is not None:
            dense, rows = tuple(_numbers(row) for row in self.dense), s + (not self.is_fsal) + len(dense_A)
            self._require(len(dense) == rows, f"dense has {len(dense)} rows for {rows} stages")
            self._require(len({len(row) for row in dense}) == 1, "the rows of dense must be of one length")
            for j, (row, b_j) in enumerate(zip(dense, b + (Fraction(0),) * (rows - s))):
                self._require(_near(sum(row), b_j), f"row {j + 1} of dense sums to {float(sum(row))}, and so the "
                              f"weight of that stage at the end of the step, which is {float(b_j)} in b")
            object.__setattr__(self, "dense", dense)

    def _require(self, condition, message):
        if not condition:
            raise ValueError(f"tableau {self.name!r}: {message}")

    @property
    def stages(self):
        """s, the number of stages."""
        return len(self.b)

    @cached_property
    def is_explicit(self):
        """Whether a_ij = 0 for j ≥ i."""
        return all(a == 0 for i, row in enumerate(self.A) for a in row[i:])

    @cached_property
    def is_fsal(self):
        """First same as last: the last stage is f at the new state, the next step's first."""
        return self.A[-1] == self.b

    @cached_property
    def starts_with_velocity(self):
        """Whether the first stage is f(t, y), as in every explicit method."""
        return not any(self.A[0]) and self.c[0] == 0

    @cached_property
    def errors(self):
        """b − b̂, and b − b̂_3 or None, as float64 arrays (s,)."""
        return tuple(None if row is None else self.arrays[1] - np.array(row, dtype=float)
                     for row in (self.b_hat, self.b_hat_3))

    @cached_property
    def arrays(self):
        """A (s, s), b (s,) and c (s,) as float64 arrays."""
        return tuple(np.array(x, dtype=np.float64) for x in (self.A, self.b, self.c))


def _numbers(row):
    """A row of a table as a tuple: fractions where they are exact, floats where they are not."""
    try:
        entries = row.split() if isinstance(row, str) else row
        return tuple(float(x) if isinstance(x, float) else Fraction(x) for x in entries)
    except (TypeError, ValueError, ZeroDivisionError):
        raise ValueError(f"a row of a tableau must hold numbers, such as '3/40 9/40', not {row!r}") from None


def _near(x, y):
    """Equal to the rounding of a sum of a few printed decimals."""
    return abs(float(x - y)) < 1e-12
