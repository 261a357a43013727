"""The tables are their authors', the words about them are true, and each keeps to the tolerance given."""

import re
from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
from scipy.integrate import DOP853, RK23, RK45

from minode import Tableau, methods, odeint
from minode.solvers import implicit as chapter_13, methods as chapter_8
from minode.solvers.adaptive import Tolerances, error_size
from minode.solvers.explicit import explicit_step
from tests.solvers.test_adaptive import FEW_STEPS, each_method, pendulum
from tests.solvers.trees import Conditions, rooted_trees, symmetry
from tests.strategies import assert_agree

EPS = np.finfo(float).eps
PRINTED = 2 * EPS              # relative to the largest number of a table: a decimal read, or two subtracted
SLOPE = 0.2                    # of a measured power of h on finite steps
TENDENCY = 0.25                # of a measured power of the tolerance: steps are few, and come out as they do
TABLES = [m for m in methods.values() if isinstance(m, Tableau)]

PROMISED = {                   # what API.md names, in its order
    "explicit": "euler midpoint heun rk4 rk38",
    "adaptive": "heun_euler bosh3 fehlberg45 cash_karp dopri5 tsit5 dop853",
    "implicit": "implicit_euler implicit_midpoint trapezoid gauss4 gauss6 radau3",
    "stiff": "radau5 trbdf2 kvaerno5", "reversible": "asynchronous_leapfrog reversible_heun"}


# -- the tables -------------------------------------------------------------------------------

def test_every_method_that_is_promised_is_there_and_is_what_it_is_called():
    assert list(methods) == " ".join(PROMISED.values()).split()
    for kind, names in PROMISED.items():
        for method in map(methods.get, names.split()):
            is_table = isinstance(method, Tableau)
            assert is_table == (kind != "reversible")
            if is_table:
                assert method.is_explicit == (kind in ("explicit", "adaptive"))
                assert (method.b_hat is None) == (kind in ("explicit", "implicit"))


@pytest.mark.parametrize("name, theirs", [("bosh3", RK23), ("dopri5", RK45)])
def test_the_pairs_that_scipy_has_too_are_the_same_numbers(name, theirs):
    table = methods[name]
    A, b, c = table.arrays()
    rows, columns = theirs.A.shape
    assert_agree(A[:rows, :columns], theirs.A, PRINTED)
    assert_agree(b[:-1], theirs.B, PRINTED)
    assert_agree(c[:-1], theirs.C, PRINTED)
    assert_agree(np.abs(b - np.array(table.b_hat, dtype=float)), np.abs(theirs.E), PRINTED)
    if table.dense:
        assert_agree(np.array(table.dense, dtype=float), theirs.P, PRINTED)


def test_the_numbers_of_dop853_are_scipys_to_the_last():
    table = methods["dop853"]
    A, b, c = table.arrays()
    extra = [np.array(row, dtype=float) for row in table.dense_A]
    assert_agree(A, DOP853.A, PRINTED)
    assert_agree(b, DOP853.B, PRINTED)
    assert_agree(c, DOP853.C[:12], PRINTED)
    for row, theirs, node in zip(extra, DOP853.A_EXTRA, DOP853.C_EXTRA, strict=True):
        assert_agree(row, theirs[:len(row)], PRINTED)
        assert_agree(row.sum(), node, 10 * PRINTED)
    for b_hat, theirs in ((table.b_hat, DOP853.E5), (table.b_hat_3, DOP853.E3)):
        assert_agree(b - np.array(b_hat, dtype=float), theirs[:12], 10 * PRINTED)
    sigma, P = np.linspace(0.0, 1.0, 9), np.array(table.dense, dtype=float)
    start, end, change = np.eye(16)[0], np.eye(16)[12], np.append(b, np.zeros(4))
    nested = np.zeros((9, 16))
    for i, row in enumerate(reversed([change, start - change, 2 * change - start - end, *DOP853.D])):
        nested = (nested + row) * (sigma if i % 2 == 0 else 1 - sigma)[:, None]
    assert_agree(sigma[:, None]**np.arange(1, 8) @ P.T, nested, PRINTED * np.abs(P).max())


NODES = {"rk38": "0 1/3 2/3 1", "bosh3": "0 1/2 3/4 1", "fehlberg45": "0 1/4 3/8 12/13 1 1/2",
         "cash_karp": "0 1/5 3/10 3/5 1 7/8", "dopri5": "0 1/5 3/10 4/5 8/9 1 1",
         "tsit5": "0 0.161 0.327 0.9 0.9800255409045097 1 1"}


@pytest.mark.parametrize("name", NODES)
def test_the_nodes_are_those_of_the_books(name):
    assert methods[name].c == tuple(map(Fraction, NODES[name].split()))


def test_the_lists_of_the_chapters_give_the_orders_of_their_pairs():
    for table in (table for table in TABLES if table.b_hat is not None):
        text = (chapter_8 if table.is_explicit else chapter_13).__doc__
        assert re.search(rf" {table.name} +{table.order}\({table.embedded_order}[,)]", text), table.name


def test_what_the_chapter_says_about_its_tables():
    fsal = {table.name for table in TABLES if table.is_explicit and table.is_fsal}
    decimal = {table.name for table in TABLES if table.is_explicit for row in (*table.A, table.b)
               for x in row if isinstance(x, float) or x.denominator > 10**9}
    beyond = {table.name for table in TABLES if not all(0 <= c <= 1 for c in table.c)}
    assert fsal == {"bosh3", "dopri5", "tsit5"} and decimal == {"tsit5", "dop853"}
    assert beyond == {"kvaerno5"}                      # the one method that asks for f beyond its step
    heun_euler, kvaerno5 = methods["heun_euler"], methods["kvaerno5"]
    assert heun_euler.b_hat == (*methods["euler"].b, 0)                    # Euler inside Heun
    assert kvaerno5.b_hat == kvaerno5.A[-2]                                # the last stage but one
    assert all(methods[name].is_fsal for name in ("trbdf2", "kvaerno5", "radau3", "radau5"))


def leading_error(name):
    """The size of what stands at h^{p+1}: the residuals of its trees, over their symmetries."""
    table, trees = methods[name], rooted_trees(methods[name].order + 1)
    conditions = Conditions(table)
    return sqrt(sum((conditions.residual(table.b, tree) / symmetry(tree))**2 for tree in trees))


@pytest.mark.parametrize("better, other", [("rk38", "rk4"), ("tsit5", "dopri5"), ("dopri5", "cash_karp")])
def test_the_more_accurate_of_two_methods_has_the_smaller_leading_error(better, other):
    assert leading_error(better) < leading_error(other)


# -- what they do -----------------------------------------------------------------------------

@pytest.mark.eq("10.1")
@each_method
def test_the_estimate_falls_with_the_power_q_of_the_step(method):
    y, t, tolerances = np.array([0.9, -0.8]), 0.3, Tolerances(1e-3, 1e-3)
    q = method.error_order

    def E(h):
        _, _, hK = explicit_step(pendulum, method, t, h, y, pendulum(t, y))
        return error_size(method, hK, tolerances.scale(y, y), tolerances.measure)
    assert q == {"heun_euler": 2, "bosh3": 3, "dop853": 8}.get(method.name, 5)
    h = 0.1 if q == 8 else 0.02
    assert abs(np.log2(E(h) / E(h / 2)) - q) <= SLOPE


@each_method
def test_the_error_at_the_end_is_proportional_to_the_tolerance(method):
    # One step errs by E ~ h^q ~ tol, the solution by h^p: together tol^(p/q).
    def end(method, tol):
        return odeint(pendulum, [0.5, -0.3], [0.0, 5.0], method=method, rtol=tol, atol=tol)[-1]

    def error(tol):
        return np.linalg.norm(end(method, tol) - exact)
    exact = end("dop853", 1e-13)
    loose, tight = (1e-3, 1e-5) if method.order < 4 else (1e-4, 1e-10)
    slope = np.log(error(loose) / error(tight)) / np.log(loose / tight)
    assert abs(slope - method.order / method.error_order) <= TENDENCY and error(loose) <= FEW_STEPS * loose


@each_method
def test_float32_and_complex_states_keep_their_kind(method):
    seen = set()

    def single(t, y):
        seen.add(y.dtype)
        return pendulum(t, y).astype(np.float32)
    t, tol, y0 = np.linspace(0.0, 2.0, 5), 1e-4, np.array([0.5, -0.3], np.float32)
    ys = odeint(single, y0, t, method=method, rtol=tol, atol=tol)
    double = odeint(pendulum, y0.astype(float), t, method="dop853", rtol=1e-10)
    assert ys.dtype == np.float32 and seen == {np.dtype(np.float32)}
    assert_agree(ys[-1], double[-1], FEW_STEPS * tol)
    zs = odeint(lambda t, z: (1j + t) * z, [1.0 + 0j, 2j], t, method=method, rtol=tol, atol=tol)
    assert_agree(zs[-1], np.exp(1j * t[-1] + t[-1]**2 / 2) * np.array([1, 2j]), FEW_STEPS * tol)
