"""A table reads what is printed, exactly, knows its own shape, and refuses a misprint."""

import copy
import gc
import pickle
import re
import weakref
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import Tableau, methods, odeint, reversible, solve
from tests.strategies import assert_agree

TABLES = [tableau for tableau in methods.values() if isinstance(tableau, Tableau)]
DECIMALS = 1e-12                              # rounding of a sum of a few printed decimals
FEW_ULP = 20 * np.finfo(float).eps            # of two steps of three stages
each = pytest.mark.parametrize("tableau", TABLES, ids=lambda tableau: tableau.name)
fractions = st.fractions(-3, 3, max_denominator=1000)


@pytest.mark.eq("7.1")
@each
def test_the_weights_of_a_method_sum_to_one(tableau):
    for row, at_start in ((tableau.b, 0), (tableau.b_hat, tableau.b_hat_0)):
        assert row is None or abs(float(at_start + sum(row) - 1)) <= DECIMALS


@pytest.mark.eq("7.2")
@each
def test_every_stage_sits_where_its_increments_carry_it(tableau):
    for row, node in zip(tableau.A, tableau.c, strict=True):
        assert abs(float(sum(row) - node)) <= DECIMALS


@pytest.mark.eq("7.1")
@given(st.lists(fractions, min_size=1, max_size=4), fractions.filter(lambda x: abs(x) > DECIMALS))
def test_weights_that_do_not_sum_to_one_are_a_misprint(head, excess):
    b = [*head, 1 - sum(head)]
    A = [()] * len(b)
    assert Tableau("right", 1, A, b).b == tuple(b)
    wrong = [*b[:-1], b[-1] + excess]
    with pytest.raises(ValueError, match=r"tableau 'misprint': the weights b sum to \S+, not 1"):
        Tableau("misprint", 1, A, wrong)
    with pytest.raises(ValueError, match=r"tableau 'misprint': b_hat sums to \S+, not 1"):
        Tableau("misprint", 1, A, b, b_hat=wrong, embedded_order=1)


@pytest.mark.eq("7.2")
@given(st.lists(fractions, min_size=3, max_size=3), st.integers(0, 2),
       fractions.filter(lambda x: abs(x) > DECIMALS))
def test_a_node_that_is_not_the_sum_of_its_row_is_a_misprint(a, i, excess):
    A, c = [(), a[:1], a[1:]], [F(0), a[0], a[1] + a[2]]
    assert Tableau("right", 1, A, "0 0 1").c == Tableau("right", 1, A, "0 0 1", c=c).c == tuple(c)
    c[i] += excess
    with pytest.raises(ValueError, match=rf"row {i + 1} of A sums to \S+, but c is "):
        Tableau("misprint", 1, A, "0 0 1", c=c)


@pytest.mark.eq("7.1")
def test_a_constant_velocity_is_integrated_exactly_by_any_weights_that_pass():
    own = Tableau("own", 1, A=["", "3/7", "-2 5/3"], b="5 -7 3")
    t = np.array([0.0, 0.25, 1.0])
    assert np.array_equal(odeint(lambda t, y: np.array([2.0, -4.0]), [1.0, 1.0], t, method=own),
                          np.stack([1 + 2 * t, 1 - 4 * t], axis=-1))


@pytest.mark.eq("7.2")
def test_time_as_an_argument_and_time_as_a_component_give_the_same_solution():
    own, t = Tableau("own", 1, A=["", "3/4", "-1/2 5/4"], b="1/2 -1/4 3/4"), np.array([0.5, 0.75, 1.25])
    ys = odeint(lambda t, y: t * y**2 - t, 0.5, t, method=own)
    augmented = odeint(lambda _, s: np.array([1.0, s[0] * s[1]**2 - s[0]]), [t[0], 0.5], t, method=own)
    assert_agree(augmented, np.stack([t, ys], axis=-1), FEW_ULP)


def test_numbers_are_read_as_they_are_printed():
    own = Tableau("own", 2, A=["", "2/3"], b="1/4 .75", c=[0, F(2, 3)])
    assert own.A == ((F(0), F(0)), (F(2, 3), F(0)))
    assert own.b == (F(1, 4), F(3, 4)) and own.c == (F(0), F(2, 3))
    assert all(type(x) is F for x in (*own.A[1], *own.b, *own.c))
    floats = Tableau("floats", 2, A=[(), (0.5,)], b=(0.0, 1.0))
    assert type(floats.A[1][0]) is float and floats.c == (0, 0.5)
    arrays = Tableau("arrays", 2, A=np.array([[0.0, 0.0], [0.5, 0.0]]), b=np.array([0.0, 1.0]))
    assert (arrays.A, arrays.b, arrays.c) == (floats.A, floats.b, floats.c)
    again = replace(own)                                                    # reading twice changes nothing
    assert (again.A, again.b, again.c) == (own.A, own.b, own.c)
    with pytest.raises(FrozenInstanceError):
        own.order = 3


def test_floats_may_miss_by_their_rounding_and_no_more():
    third = 1 / 3
    assert sum([third / 3] * 9) != 1.0
    assert Tableau("floats", 1, A=[()] * 9, b=[third / 3] * 9).stages == 9
    with pytest.raises(ValueError, match="the weights b sum to"):
        Tableau("floats", 1, A=[()] * 2, b=[0.5, 0.5 + 2 * DECIMALS])


@pytest.mark.parametrize("arguments, message", [
    (dict(A=["", "1/2"], b="1"), r"A has rows of \[0, 1\] numbers, b has 1"),
    (dict(A=["", "1/2 0 0"], b="1/2 1/2"), r"A has rows of \[0, 3\] numbers, b has 2"),
    (dict(A=["", "1"], b="1/2 1/2", c="0"), "c has 1 numbers, b has 2"),
    (dict(A=["", "1"], b="1/2 1/2", b_hat="1", embedded_order=1), "b_hat has 1 numbers, b has 2"),
    (dict(A=["", "1"], b="1/2 1/2", b_hat="1 0"), "b_hat needs its embedded_order"),
    (dict(A=["", "1"], b="1/2 1/2", embedded_order=1), "embedded_order is for a b_hat"),
    (dict(A=["", "one"], b="1/2 1/2"), "must hold numbers, such as '3/40 9/40', not 'one'"),
    (dict(A=["", "1/0"], b="1/2 1/2"), "must hold numbers, such as '3/40 9/40', not '1/0'"),
    (dict(A=5, b="1"), "A must be a list of rows, not 5"),
    (dict(A=["1/2"], b="1", c="0.500000001"), "row 1 of A sums to 0.5, but c is 0.500000001"),
    (dict(A=["1"], b="1", dense=["1", "0"]), "dense has 2 rows for 1 stages"),
    (dict(A=["", "1"], b="0 1", dense=["1", "0 0", "0"]), "the rows of dense must be of one length"),
    (dict(A=["1"], b="1", dense=["1/2 1/4"]), "row 1 of dense sums to 0.75, and so the weight of that stage at "
                                              "the end of the step, which is 1.0 in b"),
])
def test_a_table_whose_shape_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Tableau("misshapen", 1, **arguments)


@pytest.mark.parametrize("order", [0, -1.5, 2.0, "2", True, None, np.nan])
def test_an_order_is_a_positive_integer(order):
    message = re.escape(f"order must be a positive integer, not {order!r}")
    with pytest.raises(ValueError, match="tableau 'mine': " + message):
        Tableau("mine", order, A=["", "1"], b="1/2 1/2")
    if order is not None:
        with pytest.raises(ValueError, match="tableau 'mine': embedded_" + message):
            Tableau("mine", 2, A=["", "1"], b="1/2 1/2", b_hat="1 0", embedded_order=order)
    assert Tableau("mine", np.int64(2), A=["", "1"], b="1/2 1/2").order == 2


def test_a_table_knows_whether_it_is_explicit_and_whether_its_last_stage_is_the_next_first():
    explicit = Tableau("explicit", 2, A=["", "1/2"], b="0 1")
    diagonal = Tableau("diagonal", 1, A=["1/2", "1/2 1/2"], b="1/2 1/2")
    above = Tableau("above", 1, A=["0 1/2", "1/2 0"], b="1/2 1/2")
    last = Tableau("last", 1, A=["", "1/2", "1/4 3/4"], b="1/4 3/4 0")
    assert [t.is_explicit for t in (explicit, diagonal, above, last)] == [True, False, False, True]
    assert [t.is_fsal for t in (explicit, last)] == [False, True]
    assert [t.stages for t in (explicit, last)] == [2, 3]


def decay(tableau, **options):
    """A solve with states between its steps, so that the table has remembered all that it may."""
    solution = solve(lambda t, y: np.cos(t) - y, np.ones(2), [0.0, 0.3, 1.0], method=tableau, rtol=1e-3, atol=1e-3,
                     jacobian=lambda t, y: -np.eye(2), **options)
    return np.concatenate([solution.ys, solution.interpolate([0.1, 0.77])])


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda table: pickle.loads(pickle.dumps(table)),
          "replace": replace}


@each
@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
def test_a_copy_of_a_table_is_the_same_method_and_remembers_nothing_of_its_solves(tableau, again):
    new = again(tableau)
    ys = decay(tableau)
    used = again(tableau)
    for other in (new, used):
        assert type(other) is Tableau and other is not tableau
        for name in ("name", "order", "A", "b", "c", "b_hat", "embedded_order", "b_hat_3", "dense", "dense_A"):
            assert getattr(other, name) == getattr(tableau, name), name
        assert other.remembered == {}
        assert np.array_equal(decay(other), ys)
        assert other.remembered is not tableau.remembered
    if again is COPIES["pickle"]:
        assert len(pickle.dumps(used)) <= 2 * len(pickle.dumps(new))       # the arrays stay at home


@each
def test_the_arrays_of_a_table_have_the_precision_asked_for_and_cannot_be_written_to(tableau):
    for dtype in (np.float64, np.float32, np.complex128):
        A, b, c = tableau.arrays(np.dtype(dtype))
        assert A.dtype == b.dtype == dtype and all(type(c_i) is float for c_i in c)
        assert A.tolist() == np.array(tableau.A, float).astype(dtype).tolist()
        assert b.tolist() == np.array(tableau.b, float).astype(dtype).tolist()
        for array in (A, b):
            with pytest.raises(ValueError, match="read-only"):
                array += 1.0
        assert isinstance(c, tuple)


def of_the_readers(tableau):
    return Tableau("own", tableau.order, A=tableau.A, b=tableau.b, c=tableau.c, b_hat=tableau.b_hat,
                   embedded_order=tableau.embedded_order, b_hat_3=tableau.b_hat_3, dense=tableau.dense,
                   b_hat_0=tableau.b_hat_0,
                   dense_A=tableau.dense_A)


@pytest.mark.usefixtures("young")
@each
def test_nothing_remembers_a_table_of_the_readers_after_its_last_solve(tableau):
    own = of_the_readers(tableau)
    assert np.array_equal(decay(own), decay(tableau))
    decay(own, step_size=0.1)
    if tableau.is_explicit:
        decay(reversible(own))
    if tableau.is_explicit and tableau.b_hat is not None:
        odeint(lambda t, y: -y, np.ones((3, 2)), [0.0, 0.5, 1.0], method=own, per_trajectory=True)
    alive = weakref.ref(own)
    del own
    gc.collect()
    assert alive() is None


@each
def test_the_name_of_a_method_is_the_name_of_its_table(tableau):
    assert methods[tableau.name] is tableau
