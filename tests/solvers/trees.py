"""Rooted trees and what a Runge–Kutta method makes of them (Butcher 1963), in exact arithmetic.

A tree is the sorted tuple of its subtrees, so the single node is (). A method has order p exactly where

    Σ_i b_i Φ_i(t) = 1 / γ(t)   for every tree t of at most p nodes,

with Φ_i(•) = 1 and Φ_i([t_1, …, t_m]) = Π_k Σ_j a_ij Φ_j(t_k).
"""

from collections import Counter
from fractions import Fraction
from functools import cache
from math import factorial, prod

COUNTS = (1, 1, 2, 4, 9, 20, 48, 115, 286)          # rooted trees of 1, 2, 3, … nodes
EPS = Fraction(1, 2**52)


@cache
def rooted_trees(nodes):
    """All trees of so many nodes: a root on every forest of one node less."""
    return tuple(forests(nodes - 1, nodes - 1))


def forests(nodes, largest):
    """All sorted tuples of trees with so many nodes together, none of more than `largest` nodes."""
    if nodes == 0:
        return [()]
    found = set()
    for size in range(1, min(nodes, largest) + 1):
        for tree in rooted_trees(size):
            found.update(tuple(sorted((tree, *rest))) for rest in forests(nodes - size, size))
    return sorted(found)


@cache
def order(tree):
    """|t|, the number of nodes."""
    return 1 + sum(map(order, tree))


@cache
def density(tree):
    """γ(t) = |t| Π γ(t_k)."""
    return order(tree) * prod(map(density, tree))


@cache
def symmetry(tree):
    """σ(t), the number of ways to map the tree onto itself."""
    return prod(map(symmetry, tree)) * prod(map(factorial, Counter(tree).values()))


class Weights:
    """The elementary weights of one matrix A: the vectors Φ(t), each computed once from its subtrees."""

    def __init__(self, A):
        self.rows = [[(j, a) for j, a in enumerate(row) if a] for row in A]
        self.known = {}

    def stages(self, tree):
        """Φ_i(t) for every stage i."""
        if tree not in self.known:
            columns = [self._carried(subtree) for subtree in tree]
            self.known[tree] = [prod(column[i] for column in columns) for i in range(len(self.rows))]
        return self.known[tree]

    def _carried(self, tree):
        """Σ_j a_ij Φ_j(t) for every stage i."""
        key = ("A", tree)
        if key not in self.known:
            phi = self.stages(tree)
            self.known[key] = [sum(a * phi[j] for j, a in row) for row in self.rows]
        return self.known[key]

    def total(self, b, tree):
        """Σ_i b_i Φ_i(t)."""
        return sum(b_i * phi_i for b_i, phi_i in zip(b, self.stages(tree)) if b_i)


class Conditions:
    """The order conditions of a table: what is left over for each tree, and how much rounding explains.

    A table of fractions must fulfil them exactly. In one of printed decimals or floats every entry is
    wrong by up to a few units of 2⁻⁵², and a product of them by as much for each factor: the allowance is
    that, times the sum of the sizes of the terms.
    """

    UNITS = 1                                            # of rounding, for each of the |t| factors of a term

    def __init__(self, tableau):
        self.exact = all(is_fraction(x) for row in (*tableau.A, tableau.b) for x in row)
        A = [[Fraction(x) for x in row] for row in tableau.A]
        self.weights, self.sizes = Weights(A), Weights([[abs(x) for x in row] for row in A])

    def residual(self, b, tree):
        """Σ b_i Φ_i(t) − 1/γ(t)."""
        return self.weights.total([Fraction(x) for x in b], tree) - Fraction(1, density(tree))

    def allowance(self, b, tree):
        """How much of the residual the printing of the table accounts for."""
        if self.exact and all(map(is_fraction, b)):
            return 0
        return self.UNITS * order(tree) * EPS * self.sizes.total([abs(Fraction(x)) for x in b], tree)

    def broken(self, b, nodes):
        """The trees of so many nodes whose condition does not hold."""
        return [tree for tree in rooted_trees(nodes) if abs(self.residual(b, tree)) > self.allowance(b, tree)]

    def order(self, b, highest):
        """The order of the weights b: up to how many nodes no condition is broken, at most `highest`."""
        return next((n - 1 for n in range(1, highest + 1) if self.broken(b, n)), highest)

    def quadrature_order(self, b, highest):
        """The largest k with B(1), …, B(k), where B(k): Σ_i b_i c_i^{k−1} = 1/k."""
        def holds(k):
            return abs(self.residual(b, bush(k))) <= self.allowance(b, bush(k))
        return next((k - 1 for k in range(1, highest + 1) if not holds(k)), highest)

    def stage_order(self, b, highest):
        """The largest q with B(k) and C(k) for all k ≤ q, where C(k): Σ_j a_ij c_j^{k−1} = c_i^k / k."""
        def holds(k):
            rounding = 0 if self.exact else self.UNITS * (k + 1) * EPS
            sides = zip(self.weights.stages((bush(k),)), self.weights.stages(bush(k + 1)))
            sizes = zip(self.sizes.stages((bush(k),)), self.sizes.stages(bush(k + 1)))
            return all(abs(left - right / k) <= rounding * (size_left + size_right / k)
                       for (left, right), (size_left, size_right) in zip(sides, sizes))
        stages = next((k - 1 for k in range(1, highest + 1) if not holds(k)), highest)
        return min(stages, self.quadrature_order(b, highest))


def bush(nodes):
    """The tree whose leaves all sit on the root; Φ_i of it is c_i to the power nodes − 1."""
    return ((),) * (nodes - 1)


def is_fraction(x):
    """Whether a number is meant exactly: a fraction that is not just a long decimal."""
    return isinstance(x, (int, Fraction)) and not (x.denominator > 10**9 and 10**40 % x.denominator == 0)
