"""Six stiff problems of the literature are solved to what is printed for them, with no more work than SciPy's Radau."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from minode import solve
from figures._stiff import PROBLEMS

WORK = 3                      # times SciPy's Radau's calls of f and Jacobians: what is promised
ERROR = 100                   # times the tolerance: a thousand steps, and components a millionth of the largest
UP_TO_SPREAD = 10             # times SciPy's error at the same tolerance, which comes out as it does
MANY_STEPS = 1000             # times the tolerance: of order 2, with ten times as many steps
each_problem = pytest.mark.parametrize("name", PROBLEMS)


@each_problem
def test_the_end_is_that_of_scipys_lsoda_and_the_jacobian_that_of_the_field(name):
    p = PROBLEMS[name]
    theirs = solve_ivp(p.f, p.span, p.y0, "LSODA", jac=p.jacobian, rtol=1e-10, atol=1e-10 * p.size)
    assert p.error(theirs.y[:, -1]) <= 1e-7
    y = p.y0 + 0.02 + 0.01 * np.cos(np.arange(len(p.y0)))
    f_y = np.array([p.f(0.0, y + 1e-30j * e).imag / 1e-30 for e in np.eye(len(y))]).T
    assert np.abs(f_y - p.jacobian(0.0, y)).max() <= 1e-14 * np.abs(f_y).max()


@pytest.mark.eq("13.5", "13.6", "13.7", "10.7")
@each_problem
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_radau5_solves_it_with_at_most_three_times_the_work_of_scipys(name, rtol):
    p, tolerances = PROBLEMS[name], {"rtol": rtol, "atol": rtol * PROBLEMS[name].size}
    theirs = solve_ivp(p.f, p.span, p.y0, "Radau", jac=p.jacobian, **tolerances)
    for jacobian in (p.jacobian, None)[:2 if rtol == 1e-3 else 1]:       # by differences at 1e-6: the batch below
        solution = solve(p.f, p.y0, p.span, method="radau5", jacobian=jacobian, **tolerances)
        stats, differences = solution.stats, 0 if jacobian else (len(p.y0) + 1) * solution.stats.n_jac
        assert stats.n_f - differences <= WORK * theirs.nfev and stats.n_jac <= WORK * theirs.njev
        assert stats.n_steps <= WORK * len(theirs.t)
        assert p.error(solution.ys[-1]) <= max(ERROR * rtol, UP_TO_SPREAD * p.error(theirs.y[:, -1]))


@each_problem
def test_so_it_is_by_the_diagonally_implicit_methods(name):
    p, tol = PROBLEMS[name], 1e-4
    for method, times in (("kvaerno5", ERROR), ("trbdf2", MANY_STEPS)):
        solution = solve(p.f, p.y0, p.span, method=method, jacobian=p.jacobian, rtol=tol, atol=tol * p.size)
        assert p.error(solution.ys[-1]) <= times * tol


def test_kvaerno5_takes_robertsons_problem_to_1e8_with_a_tenth_of_the_jacobians_of_a_new_one_each_time():
    p = PROBLEMS["robertson"]
    stats = solve(p.f, p.y0, [0.0, 1e8], method="kvaerno5", jacobian=p.jacobian, rtol=1e-5, atol=1e-11).stats
    theirs = solve_ivp(p.f, (0.0, 1e8), p.y0, "Radau", jac=p.jacobian, rtol=1e-5, atol=1e-11)
    assert stats.n_jac <= theirs.njev and stats.n_f <= theirs.nfev


def test_a_batch_has_a_jacobian_and_an_inverse_for_each_row():
    p = PROBLEMS["van der pol"]
    y0 = np.array([[2.0, 0.0], [-1.8, 0.1], [1.5, 0.0]])

    def f(t, y):
        return np.array([p.f(t, row) for row in y])
    t = [0.0, 100.0, 500.0]
    exact = np.stack([solve_ivp(p.f, (0.0, 500.0), start, "LSODA", t, jac=p.jacobian, rtol=1e-9, atol=1e-11).y.T
                      for start in y0], axis=1)
    for given in (lambda t, y: np.array([p.jacobian(t, row) for row in y]), None):
        ys = solve(f, y0, t, method="radau5", jacobian=given, rtol=1e-6, atol=1e-8).ys
        assert np.abs(ys - exact).max() <= ERROR * 1e-6
