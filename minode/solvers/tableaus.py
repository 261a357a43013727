"""7. A Runge–Kutta method is a table of numbers

Euler's method and the classical one belong to one family. A method with s stages is given by
s × s numbers a_ij, s weights b_i and s nodes c_i. Butcher writes them as the table

    c₁ | a₁₁ … a₁ₛ
    ⋮  |  ⋮      ⋮          k_i = f(t + c_i h, y + h Σ_j a_ij k_j)
    cₛ | aₛ₁ … aₛₛ          y(t + h) ≈ y + h Σ_i b_i k_i
       | b₁  … bₛ

Each row of A, with its node, makes one stage: the velocity k_i. A method is explicit if a_ij = 0
for j ≥ i: each stage then uses only those before it. Otherwise it is implicit. (The weights are
called b everywhere. In Part III the cotangent of θ is called b too. Chapter 18 uses both: b_i,
with the number of a stage, is a weight, and b_n, with that of a step, the cotangent.)

Two conditions are so basic that a table that breaks them is a misprint. A constant velocity
must be integrated exactly,

    Σ_i b_i = 1,                                                         (7.1)

and each stage must belong to the time that its state has reached. On y' = 1 the state moves as
the clock does. The state of stage i has then moved by h Σ_j a_ij, so

    c_i = Σ_j a_ij.                                                      (7.2)

With (7.2) it makes no difference whether time is an argument of f or one more component of y
with the velocity 1. Both conditions are checked when a table is made.

Order. By chapter 6 a method has order p if its local error is at most C h^{p+1}: one step, begun on
the solution, agrees with it up to and including h^p. Take the midpoint rule: k₁ = f(t, y),
k₂ = f(t + h/2, y + h/2 k₁), and y_new = y + h k₂. With f, f_t and f_y at (t, y), Taylor's theorem
gives

    k₂ = f + h/2 (f_t + f_y f) + O(h²),   so   y_new = y + h f + h²/2 (f_t + f_y f) + O(h³).

The solution has y' = f and, by the chain rule, y'' = f_t + f_y f. Its expansion, y + h y' +
h²/2 y'' + O(h³), is therefore the same up to h²: the rule has order two. With another table, by (7.2),
k_i = f + h c_i (f_t + f_y f) + O(h²), so Σ_i b_i c_i stands in front of h² (f_t + f_y f). So a
method has order two if Σ_i b_i c_i = 1/2.

Trees. For higher orders make time a component of y, so that y' = f(y). Write f' for f_y, and
f''(u, v) for the second derivative of f in the directions u and v. By the chain rule

    y'' = f' f,     y''' = f''(f, f) + f' f' f,     and so on.

Each term is a rooted tree: points joined by branches without a loop, with one of them, the root,
at the bottom. A point is an f. Each branch that goes up from it is a derivative of that f, in
the direction of what stands on the branch. The two trees of y''' and their conditions are

    j   k     f''(f, f)                                k     f' f' f
     ╲ ╱      Σ_ijk b_i a_ij a_ik                      │     Σ_ijk b_i a_ij a_jk
      i           = Σ_i b_i c_i² = 1/3                 j         = Σ_ij b_i a_ij c_j = 1/6
                                                       │
                                                       i

They compare two coefficients, as above. That of h³ f''(f, f) is Σ_i b_i c_i²/2 in the step and 1/6 in
the solution; that of h³ f' f' f is Σ_ij b_i a_ij c_j and 1/6. Butcher (1963) found the rule for all
trees. Write b_i for the root i and a_ij for each branch from i up to j. The sum over all indices
must be 1/γ. For γ, count at each point how many points stand on it, itself included, and multiply
these numbers: 3 · 1 · 1 on the left, 3 · 2 · 1 on the right. A method has order p if this holds for
every rooted tree with at most p points. For p = 1 to 8 these are 1, 2, 4, 8, 17, 37, 85 and 200
conditions. The tests generate the trees and check every method of the book. The tables hold
fractions, so the check is exact wherever a method has them.

Some tables have a second row of weights b̂, of another order, for the same stages. The difference
of the two results estimates the error (chapter 10). And some have weights for states inside a
step, which is called dense output (chapter 11).

Figure 12 shows the order of every method, measured.
Next: the methods (chapter 8), and the one function that steps them (chapter 9).
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from ..inputs import as_rows


@dataclass(frozen=True, eq=False)
class Tableau:
    """A Runge–Kutta method: A (s × s), weights b (s), nodes c (s), and its order.

    Give the numbers as they are printed: a row is a string like "3/40 9/40", or a sequence of fractions,
    integers or floats. A row of A may leave out its zeros from the diagonal on. c may be left out, because
    (7.2) gives it. `b_hat` with `embedded_order` makes the method adaptive, and `b_hat_3` is a second
    estimate, of order 3. `b_hat_0` is the weight of f(t, y) in b_hat if no stage is f(t, y) (radau5).
    `dense` has one row for each stage, with the coefficients of σ, σ², … in its weight (chapter 11). Its
    rows are for the stages of A, then for f at the new state (unless that is the last of them), then for
    those of `dense_A`. ValueError if shapes do not fit, an order is not a positive integer, (7.1) or
    (7.2) is broken, or the dense output does not end where the step does. Butcher (1963).

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
    b_hat_0: float = 0

    def __post_init__(self):
        rows = as_rows(self)
        s = len(rows["b"])
        rows["A"] = tuple(row + (Fraction(0),) * (s - len(row)) for row in rows["A"])
        if self.c is None:
            rows["c"] = tuple(sum(row) for row in rows["A"])                       # (7.2)
        vars(self).update(rows)                              # the class is frozen: not by assignment
        check_tableau(self)

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
    def used(self):
        """How many stages y_new depends on: those up to the last b_i that is not 0."""
        return max(i + 1 for i, b_i in enumerate(self.b) if b_i)

    @cached_property
    def errors(self):
        """b − b̂, and b − b̂_3 or None, as float64 arrays (s,)."""
        _, b, _ = self.arrays()
        return tuple(None if row is None else b - np.array(row, dtype=float) for row in (self.b_hat, self.b_hat_3))

    @cached_property
    def error_order(self):
        """q: the error estimate of a step behaves like a multiple of h^q (chapter 10)."""
        return 1 + min(self.order, self.embedded_order) if self.b_hat_3 is None else self.order

    @property
    def carries_velocity(self):
        """Whether fixed steps hand the last k on: as the next k₁ (FSAL), or as a start for Newton's method."""
        return self.is_fsal or not self.starts_with_velocity

    def arrays(self, dtype=np.dtype(float)):
        """A (s, s) and b (s,) as arrays of this dtype, and c as s floats. They are remembered, and read-only."""
        if dtype not in self.remembered:
            A, b = np.array(self.A, float).astype(dtype), np.array(self.b, float).astype(dtype)
            A.flags.writeable = b.flags.writeable = False
            self.remembered[dtype] = A, b, tuple(float(c_i) for c_i in self.c)
        return self.remembered[dtype]

    @cached_property
    def remembered(self):
        return {}

    def __getstate__(self):
        return vars(self) | {"remembered": {}}


def check_tableau(tableau):
    """ValueError if the numbers of a `Tableau` do not fit together, or break (7.1) or (7.2)."""
    A, b, c, s = tableau.A, tableau.b, tableau.c, len(tableau.b)
    require(tableau, len(c) == s, f"c has {len(c)} numbers, b has {s}")
    require(tableau, near(sum(b), 1), f"the weights b sum to {float(sum(b))}, not 1")  # (7.1)
    for i, c_i in enumerate(c):
        is_met = near(c_i, sum(A[i]))                                              # (7.2)
        require(tableau, is_met, f"row {i + 1} of A sums to {float(sum(A[i]))}, but c is {float(c_i)}")
    for name in ("b_hat", "b_hat_3"):
        row = getattr(tableau, name)
        if row is not None:
            require(tableau, len(row) == s, f"{name} has {len(row)} numbers, b has {s}")
            total = sum(row) + (tableau.b_hat_0 if name == "b_hat" else 0)
            require(tableau, near(total, 1), f"{name} sums to {float(total)}, not 1")
            require(tableau, tableau.embedded_order is not None, f"{name} needs its embedded_order")
    is_fit = tableau.b_hat_0 == 0 or tableau.b_hat is not None and not tableau.starts_with_velocity
    require(tableau, is_fit, "b_hat_0 is for the b_hat of a method that has no stage f(t, y)")
    if tableau.dense is not None:
        check_dense(tableau)


def check_dense(tableau):
    """ValueError if the dense output (chapter 11) does not have one row for each stage, or does not end in b."""
    dense, rows = tableau.dense, tableau.stages + (0 if tableau.is_fsal else 1) + len(tableau.dense_A)
    require(tableau, len(dense) == rows, f"dense has {len(dense)} rows for {rows} stages")
    require(tableau, len({len(row) for row in dense}) == 1, "the rows of dense must be of one length")
    for j, (row, b_j) in enumerate(zip(dense, tableau.b + (0,) * (rows - tableau.stages))):
        require(tableau, near(sum(row), b_j), f"row {j + 1} of dense sums to {float(sum(row))}, and so the "
                f"weight of that stage at the end of the step, which is {float(b_j)} in b")


def require(tableau, condition, message):
    if not condition:
        raise ValueError(f"tableau {tableau.name!r}: {message}")


def near(x, y):
    """Whether x and y are equal up to the rounding of a sum of a few printed decimals."""
    return abs(float(x - y)) < 1e-12
