"""Two dtypes of one kind promote to the wider one for any shapes: a 0-d array counts by its dtype.

The official suite found this: NumPy 1 goes by the value of a 0-d array, and gives float32 for float64 and float32.
"""

import numpy as np
import pytest

from anchorlib.backends._spec import FRAMEWORKS

PAIRS = [("float32", "float64"), ("int32", "int64")]
SHAPES = [((), (3,)), ((3,), ()), ((), ()), ((), (0,)), ((1,), (2, 0))]
COMPARE = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
ARITHMETIC = ("add", "subtract", "multiply", "floor_divide", "remainder", "minimum", "maximum", "pow")


def host(backend, found):
    return np.asarray(found) if isinstance(found, np.generic) else backend.host(found)


@pytest.mark.parametrize(("narrow", "wide"), PAIRS)
@pytest.mark.parametrize("name", [*COMPARE, *ARITHMETIC, "divide"])
def test_a_0d_array_counts_by_its_dtype(backend, name, narrow, wide):
    if (name == "divide" and wide == "int64") or narrow in FRAMEWORKS[backend.name].limits.get(name, ((),))[0]:
        return
    for shapes in SHAPES:
        for first, second in ((narrow, wide), (wide, narrow)):
            x1, x2 = np.full(shapes[0], 7, first), np.full(shapes[1], 2, second)
            expected = np.asarray(getattr(np, "power" if name == "pow" else name)(x1.astype(wide), x2.astype(wide)))
            found = host(backend, getattr(backend.xp, name)(backend.array(x1), backend.array(x2)))
            assert found.dtype == (np.dtype(bool) if name in COMPARE else np.dtype(wide)), shapes
            np.testing.assert_array_equal(found, expected)


def test_a_0d_array_is_not_rounded_before_it_is_compared(backend):
    tenth = [backend.array(np.full((3,), 0.1, np.float32)), backend.array(np.asarray(0.1))]  # 0.1000000015 and 0.1
    for name, expected in (("equal", False), ("not_equal", True), ("greater", True), ("less_equal", False)):
        assert host(backend, getattr(backend.xp, name)(*tenth)).tolist() == [expected] * 3


@pytest.mark.parametrize(("narrow", "wide"), PAIRS)
def test_where_and_result_type_go_by_dtype_too(backend, narrow, wide):
    xp, dtype = backend.xp, getattr(backend.xp, wide)
    for first, second in SHAPES:
        x1, x2 = backend.array(np.ones(first, wide)), backend.array(np.ones(second, narrow))
        condition = backend.array(np.ones((), bool))
        assert xp.result_type(x1, x2) == xp.result_type(x2, x1) == xp.result_type(x1, x2.dtype) == dtype
        assert xp.where(condition, x1, x2).dtype == xp.where(condition, x2, x1).dtype == dtype
