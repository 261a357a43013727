"""Large arrays lie in blocks that live as long as something in them does, and no thread sees another's."""

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minode import MLP, pullback
from minode.fields.workspace import BLOCK, SMALL, Workspace
from tests.threads import in_threads

LITTLE = 0.05                                   # of a block: what else Python allocates meanwhile


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@given(shapes=st.lists(st.sampled_from([(3,), (205, 257), (1024, 65), (2, 300, 101), (0, 2)]), min_size=1, max_size=4))
def test_a_copy_is_equal_aligned_and_its_own(dtype, shapes):
    workspace, rng = Workspace(), np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    copies = [workspace.keep(x) for x in arrays]
    for x, copy in zip(arrays, copies):
        assert copy.dtype == x.dtype and np.array_equal(copy, x)
        if x.nbytes < SMALL:
            assert copy is x
        else:
            assert copy.flags.c_contiguous and copy.ctypes.data % copy.itemsize == 0
            x[...] = np.nan
            assert not np.isnan(copy).any()
    for i, copy in enumerate(copies):
        assert not any(np.shares_memory(copy, other) for other in copies[:i])


def test_arrays_of_columns_and_of_more_than_a_block_are_taken_too():
    workspace, x = Workspace(), np.arange(40_000.0).reshape(200, 200)
    assert np.array_equal(workspace.keep(x.T), x.T)
    wide = np.ones(BLOCK // 8 + 1)
    copy = workspace.keep(wide)
    assert copy.base.nbytes == wide.nbytes and np.array_equal(copy, wide)
    assert workspace.keep(x).base is not copy.base


@pytest.mark.usefixtures("young")
def test_a_block_is_filled_by_many_and_freed_with_the_last_of_them():
    workspace, x = Workspace(), np.ones(SMALL)
    tracemalloc.start()
    try:
        first, second = workspace.keep(x), workspace.keep(x)
        assert first.base is second.base
        del first
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] > BLOCK * (1 - LITTLE)
        assert np.array_equal(second, x)
        del second
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < BLOCK * LITTLE
        assert np.array_equal(workspace.keep(x), x)               # and the next one begins another
    finally:
        tracemalloc.stop()


def test_threads_have_blocks_of_their_own():
    workspace, found = Workspace(), {}

    def work(name):
        x = np.full(2 * SMALL, float(name))
        found[name] = [workspace.keep(x + n) for n in range(20)]

    in_threads(work, 2)
    assert found[0][0].base is not found[1][0].base
    for name in (0, 1):
        assert all((copy == name + n).all() for n, copy in enumerate(found[name]))


@pytest.mark.usefixtures("young")
def test_nothing_of_a_wide_gradient_stays_behind():
    f, rng = MLP([64, 64, 64], ["tanh", "swish"]), np.random.default_rng(0)
    theta, y0 = f.init(rng), rng.normal(size=(512, 64))
    options = {"method": "rk4", "step_size": 0.25}
    first = pullback(f, y0, [0.0, 1.0], theta, y0, **options)
    tracemalloc.start()
    try:
        again = pullback(f, y0, [0.0, 1.0], theta, y0, **options)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < BLOCK * LITTLE
    finally:
        tracemalloc.stop()
    assert all(map(np.array_equal, first, again))
