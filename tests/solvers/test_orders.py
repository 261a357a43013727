"""Every table of the book has the order it claims and no more: all rooted trees, exactly."""

from fractions import Fraction
from math import factorial, sqrt

import pytest

from minode import Tableau, methods
from tests.solvers.trees import COUNTS, Conditions, bush, density, order, rooted_trees, symmetry

TABLES = [tableau for tableau in methods.values() if isinstance(tableau, Tableau)]
TREES_KNOWN = len(COUNTS)                                # orders up to one less can be told from higher ones
CLEARLY = 1000                                           # times the allowance: no rounding explains that


def named(tableau):
    return tableau.name


def with_start(tableau):
    """The table and b̂; if f(t, y) has a weight in b̂ without being a stage, with it as a first stage."""
    if not tableau.b_hat_0:
        return tableau, tableau.b_hat
    rows = [[0] * (tableau.stages + 1), *([0, *row] for row in tableau.A)]
    return Tableau("with f(t, y)", tableau.order, A=rows, b=(0, *tableau.b)), (tableau.b_hat_0, *tableau.b_hat)


def rows_of_weights():
    """(tableau, weights, order) for b, b̂ and a second b̂ of order 3, where there are any."""
    for tableau in TABLES:
        yield pytest.param(tableau, tableau.b, tableau.order, id=tableau.name)
        if tableau.b_hat is not None:
            yield pytest.param(*with_start(tableau), tableau.embedded_order, id=f"{tableau.name}-b_hat")
        if getattr(tableau, "b_hat_3", None) is not None:
            yield pytest.param(tableau, tableau.b_hat_3, 3, id=f"{tableau.name}-b_hat_3")


@pytest.mark.parametrize("nodes, count", list(enumerate(COUNTS, start=1)))
def test_the_trees_are_all_there_with_their_densities_and_symmetries(nodes, count):
    trees = rooted_trees(nodes)
    assert len(set(trees)) == len(trees) == count
    assert all(order(tree) == nodes for tree in trees)
    # n!/σ counts the ways to number the nodes of a tree, n!/(σγ) those that increase away from the root.
    assert sum(factorial(nodes) // symmetry(tree) for tree in trees) == nodes ** (nodes - 1)       # Cayley
    growing = sum(Fraction(factorial(nodes), symmetry(tree) * density(tree)) for tree in trees)
    assert growing == factorial(nodes - 1)


@pytest.mark.parametrize("tableau, b, p", list(rows_of_weights()))
def test_a_row_of_weights_has_its_order_and_no_more(tableau, b, p):
    conditions = Conditions(tableau)
    assert conditions.order(b, TREES_KNOWN) == p
    missed = conditions.broken(b, p + 1)
    assert any(abs(conditions.residual(b, tree)) > CLEARLY * conditions.allowance(b, tree) for tree in missed)


@pytest.mark.parametrize("tableau", TABLES, ids=named)
def test_the_stage_order_is_one_for_explicit_tables_and_never_above_the_order(tableau):
    stage_order = Conditions(tableau).stage_order(tableau.b, TREES_KNOWN)
    assert 1 <= stage_order <= tableau.order
    if tableau.is_explicit:                          # C(2) asks of the second stage that c₂²/2 = a₂₁ c₁ = 0
        assert stage_order == 1


W = sqrt(3) / 6
COLLOCATION = {                                          # nodes: table, stage order, order
    "one Gauss": (Tableau("implicit midpoint", 2, A=["1/2"], b="1"), 1, 2),
    "two Lobatto": (Tableau("trapezoid", 2, A=["0 0", "1/2 1/2"], b="1/2 1/2"), 2, 2),
    "two Radau": (Tableau("radau", 3, A=["5/12 -1/12", "3/4 1/4"], b="3/4 1/4"), 2, 3),
    "two Gauss": (Tableau("gauss", 4, A=[(1/4, 1/4 - W), (1/4 + W, 1/4)], b=[1/2, 1/2]), 2, 4),
    "three Lobatto": (Tableau("", 4, A=["0 0 0", "5/24 1/3 -1/24", "1/6 2/3 1/6"], b="1/6 2/3 1/6"), 3, 4),
}


@pytest.mark.parametrize("name", COLLOCATION)
def test_collocation_gives_one_stage_order_a_node_and_the_order_of_its_quadrature(name):
    tableau, stage_order, p = COLLOCATION[name]
    conditions = Conditions(tableau)
    assert conditions.stage_order(tableau.b, 6) == stage_order == tableau.stages
    assert conditions.order(tableau.b, 6) == conditions.quadrature_order(tableau.b, 6) == p


CUT_ROW = (0.166667, 0.333333, 0.333333, 0.166667)
MISTAKES = {                                             # table, the order left; all pass (7.1) and (7.2)
    "rk4, b in equal parts": (Tableau("m", 4, A=["", "1/2", "0 1/2", "0 0 1"], b="1/4 1/4 1/4 1/4"), 2),
    "rk4, third stage split": (Tableau("m", 4, A=["", "1/2", "1/4 1/4", "0 0 1"], b="1/6 1/3 1/3 1/6"), 2),
    "rk38, b of rk4": (Tableau("m", 4, A=["", "1/3", "-1/3 1", "1 -1 1"], b="1/6 1/3 1/3 1/6"), 2),
    "heun, first stage twice": (Tableau("m", 2, A=["", "0 0"], b="1/2 1/2"), 1),
    "rk4, b cut to six digits": (Tableau("m", 4, A=["", "1/2", "0 1/2", "0 0 1"], b=CUT_ROW), 2),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_that_the_consistency_checks_let_pass_costs_the_order(name):
    tableau, p = MISTAKES[name]
    assert Conditions(tableau).order(tableau.b, 5) == p < tableau.order


def test_the_conditions_of_chapter_7_are_those_of_its_trees():
    chain = (bush(2),)
    assert [density(tree) for tree in (bush(1), bush(2), bush(3), chain)] == [1, 2, 3, 6]
    cumulative = [sum(COUNTS[:n]) for n in range(1, 9)]
    assert cumulative == [1, 2, 4, 8, 17, 37, 85, 200]
