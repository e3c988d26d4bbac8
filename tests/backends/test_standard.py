"""What the standard 2024.12 asks of a namespace beyond values: signatures, Python numbers, what it says of itself.

The official suite (ci/array-api) also tests these; it is not there in every run.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import itertools
import sys

import numpy as np
import pytest

from anchorlib.backends import FRAMEWORKS, DeviceError, _spec

#: The functions of the standard that are not `name(x, /)`.
SIGNATURES = """
asarray(obj, /, *, dtype=None, device=None, copy=None)
arange(start, /, stop=None, step=1, *, dtype=None, device=None)
zeros(shape, *, dtype=None, device=None)
ones(shape, *, dtype=None, device=None)
full(shape, fill_value, *, dtype=None, device=None)
empty(shape, *, dtype=None, device=None)
zeros_like(x, /, *, dtype=None, device=None)
ones_like(x, /, *, dtype=None, device=None)
full_like(x, /, fill_value, *, dtype=None, device=None)
astype(x, dtype, /, *, copy=True, device=None)
result_type(*arrays_and_dtypes)
isdtype(dtype, kind)
finfo(type, /)
iinfo(type, /)
clip(x, /, min=None, max=None)
where(condition, x1, x2, /)
min(x, /, *, axis=None, keepdims=False)
max(x, /, *, axis=None, keepdims=False)
sum(x, /, *, axis=None, dtype=None, keepdims=False)
prod(x, /, *, axis=None, dtype=None, keepdims=False)
mean(x, /, *, axis=None, keepdims=False)
any(x, /, *, axis=None, keepdims=False)
all(x, /, *, axis=None, keepdims=False)
argmin(x, /, *, axis=None, keepdims=False)
argmax(x, /, *, axis=None, keepdims=False)
cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False)
argsort(x, /, *, axis=-1, descending=False, stable=True)
sort(x, /, *, axis=-1, descending=False, stable=True)
take(x, indices, /, *, axis=None)
searchsorted(x1, x2, /, *, side='left', sorter=None)
reshape(x, /, shape, *, copy=None)
expand_dims(x, /, axis)
squeeze(x, /, axis)
broadcast_to(x, /, shape)
concat(arrays, /, *, axis=0)
stack(arrays, /, *, axis=0)
flip(x, /, *, axis=None)
permute_dims(x, /, axes)
"""
OF_TWO = (
    "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "minimum", "maximum", "pow",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "logical_and", "logical_or", "logical_xor",
)  # fmt: skip
NOT_FUNCTIONS = {*_spec.DTYPES, "inf", "nan", "pi", "__array_api_version__", "__array_namespace_info__"}
WANTED = {line.partition("(")[0]: line for line in SIGNATURES.split("\n") if line}
WANTED.update({name: f"{name}(x1, x2, /)" for name in OF_TWO})
WANTED.update({name: f"{name}(x, /)" for name in _spec.STANDARD if name not in {*WANTED, *NOT_FUNCTIONS}})


def signature_of(line):
    """Return the signature that a line of SIGNATURES spells."""
    scope = {}
    exec(f"def {line}: ...", scope)
    return inspect.signature(scope[line.partition("(")[0]])


def differences(name, found, wanted):
    """Return what a caller that goes by the standard could not do."""
    parameters, lines = list(found.parameters.values()), []
    by_position = [p for p in wanted.parameters.values() if p.kind is not p.KEYWORD_ONLY]
    for i, parameter in enumerate(by_position):
        if i >= len(parameters):
            lines.append(f"{name} lacks {parameter.name}")
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            if (parameters[i].name, parameters[i].kind) != (parameter.name, parameter.kind):
                lines.append(f"{name} must take {parameter.name} by position and by keyword, has {parameters[i]}")
        elif parameters[i].kind is parameter.KEYWORD_ONLY:
            lines.append(f"{name} must take {parameter.name} by position, has {parameters[i]}")
    for parameter in list(wanted.parameters.values())[len(by_position) :]:
        if parameter.name not in found.parameters:
            lines.append(f"{name} lacks {parameter.name}=")
    return lines


def signatures_of(xp):
    """Return the signatures that a namespace tells: those of NumPy's functions in C are there from NumPy 2.4 on."""
    found = {}
    for name in WANTED:
        with contextlib.suppress(ValueError):
            found[name] = inspect.signature(getattr(xp, name))
    of_any = [name for name, one in found.items() if any(p.kind is p.VAR_POSITIONAL for p in one.parameters.values())]
    return {name: one for name, one in found.items() if name == "result_type" or name not in of_any}


def test_functions_are_called_as_the_standard_says(xp):
    found = signatures_of(xp)
    assert len(found) > 30
    assert [line for name in found for line in differences(name, found[name], signature_of(WANTED[name]))] == []


def test_a_wrong_signature_is_seen():
    wanted = signature_of("expand_dims(x, /, axis)")
    said = "expand_dims must take axis by position and by keyword, has axis=0"
    assert differences("expand_dims", signature_of("expand_dims(x, /, *, axis=0)"), wanted) == [said]
    wanted = signature_of("sum(x, /, *, axis=None, dtype=None)")
    assert differences("sum", signature_of("sum(x, axis=None)"), wanted) == ["sum lacks dtype="]
    assert differences("sum", signature_of("sum(*, x)"), wanted)[0] == "sum must take x by position, has x"


def test_the_signatures_here_are_those_of_array_api_strict():
    if sys.version_info < (3, 11):
        pytest.skip("array-api-strict needs Python 3.11")
    strict = importlib.import_module("array_api_strict")
    found = {name: inspect.signature(getattr(strict, name)) for name in WANTED}
    assert [line for name in WANTED for line in differences(name, found[name], signature_of(WANTED[name]))] == []


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("name", OF_TWO)
def test_a_python_number_takes_the_dtype_of_the_array(backend, name, shape):
    """NumPy 1 makes float64 of a float32 array of no dimension and a Python number."""
    kind = _spec.TAKES.get(name, "numeric")
    limits = FRAMEWORKS[backend.name].limits.get(name, ((),))[0]
    for dtype in _spec.KINDS[kind]:
        if dtype in limits or (name == "pow" and dtype.startswith("int")):
            continue
        value = True if dtype == "bool" else 3 if dtype.startswith("int") else 2.5
        x = np.asarray(np.arange(1, 4) if shape else 2).astype(dtype)
        other = np.asarray(value, dtype)
        for arguments, plain in (((x, value), (x, other)), ((value, x), (other, x))):
            given = [backend.array(one) if isinstance(one, np.ndarray) else one for one in arguments]
            found = backend.host(getattr(backend.xp, name)(*given))
            expected = np.asarray(getattr(np, {"pow": "power"}.get(name, name))(*plain))
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            np.testing.assert_allclose(found, expected, rtol=1e-6)


INF, NAN = float("inf"), float("nan")
#: x1, x2, x1 // x2, x1 % x2: the special cases of the standard, which differ from Python's for infinities
DIVISIONS = [
    (INF, 2.0, INF, NAN), (INF, -2.0, -INF, NAN), (-INF, 2.0, -INF, NAN), (-INF, -2.0, INF, NAN),
    (3.0, INF, 0.0, 3.0), (3.0, -INF, -0.0, -INF), (-3.0, INF, -0.0, INF), (-3.0, -INF, 0.0, -3.0),
    (0.0, INF, 0.0, 0.0), (0.0, -INF, -0.0, -0.0), (-0.0, INF, -0.0, 0.0), (-0.0, -INF, 0.0, -0.0),
    (0.0, 2.0, 0.0, 0.0), (0.0, -2.0, -0.0, -0.0), (-0.0, 2.0, -0.0, 0.0), (-0.0, -2.0, 0.0, -0.0),
    (3.0, 0.0, INF, NAN), (3.0, -0.0, -INF, NAN), (-3.0, 0.0, -INF, NAN), (-3.0, -0.0, INF, NAN),
    (INF, INF, NAN, NAN), (0.0, 0.0, NAN, NAN), (NAN, 2.0, NAN, NAN), (3.0, NAN, NAN, NAN),
    (6.0, 3.0, 2.0, 0.0), (6.0, -3.0, -2.0, -0.0), (-6.0, 3.0, -2.0, 0.0), (-7.0, 3.0, -3.0, 2.0),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "column"), [("floor_divide", 2), ("remainder", 3)])
def test_divisions_with_zeros_and_infinities_are_the_standards(backend, name, column, dtype):
    def signed(values):
        return [(str(abs(one)), "" if one != one else float(np.copysign(1, one))) for one in values]

    columns = [np.asarray(one, dtype) for one in zip(*DIVISIONS)]
    function, expected = getattr(backend.xp, name), signed(columns[column])
    assert signed(backend.host(function(backend.array(columns[0]), backend.array(columns[1])))) == expected
    for (x1, x2, *_), one in zip(DIVISIONS, expected):  # Python numbers as either; OneFlow takes -0.0 for 0.0
        if x1 == x1 and x2 == x2 and "-0.0" not in (str(x1), str(x2)):
            for arguments in ((backend.array(np.full(1, x1, dtype)), x2), (x1, backend.array(np.full(1, x2, dtype)))):
                assert signed(backend.host(function(*arguments))) == [one], (x1, x2)


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_where_takes_a_python_number(backend, dtype, shape):
    x = np.full(shape, 3, dtype)
    condition = backend.array(np.full(shape, True))
    for arguments in itertools.permutations([backend.array(x), 2]):
        found = backend.host(backend.xp.where(condition, *arguments))
        assert (found.dtype, found.shape) == (x.dtype, shape)


def test_result_type_takes_python_numbers(backend):
    xp = backend.xp
    for dtype in _spec.DTYPES:
        numbers = [True] if dtype == "bool" else [1] if dtype.startswith("int") else [1, 1.0]
        wanted = getattr(xp, dtype)
        array = xp.zeros((1,), dtype=wanted)
        for number, one in itertools.product(numbers, (wanted, array)):
            for arguments in itertools.permutations([one, number, one]):
                assert xp.result_type(*arguments) == wanted


# ---- what a namespace says of itself


def test_a_namespace_has_the_version_of_the_standard(xp):
    assert xp.__array_api_version__ == "2024.12"


def test_the_capabilities_are_those_of_the_arrays(backend):
    xp = backend.xp
    capabilities = xp.__array_namespace_info__().capabilities()
    assert {"boolean indexing": True, "data-dependent shapes": True}.items() <= capabilities.items()
    most = min(capabilities["max dimensions"], 32)  # NumPy 1 has no more
    x = backend.array(np.ones((1,) * (most - 1) + (2,), np.float32))
    assert float(xp.sum(x + xp.expand_dims(x[..., 0], axis=-1))) == 4


def test_devices_are_those_of_the_backend(backend):
    info = backend.xp.__array_namespace_info__()
    assert info.devices() == backend.xp.devices()
    assert info.default_device() == "cpu"
    assert info.default_device() in info.devices()


def test_default_dtypes_are_those_of_new_arrays(xp):
    info = xp.__array_namespace_info__()
    for device in [None, *info.devices()]:
        found = info.default_dtypes(device=device)
        assert found["real floating"] == xp.asarray(1.5).dtype
        assert found["integral"] == xp.asarray(1).dtype
        assert found["indexing"] == xp.int64


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (None, _spec.DTYPES),
        ("bool", ["bool"]),
        ("signed integer", ["int32", "int64"]),
        ("unsigned integer", []),
        ("integral", ["int32", "int64"]),
        ("real floating", ["float32", "float64"]),
        ("complex floating", []),
        ("numeric", ["int32", "int64", "float32", "float64"]),
        (("bool", "real floating"), ["bool", "float32", "float64"]),
    ],
    ids=str,
)
def test_dtypes_are_given_by_kind(xp, kind, names):
    info = xp.__array_namespace_info__()
    for device in [None, *info.devices()]:
        found = info.dtypes(kind=kind, device=device)
        assert list(found) == list(names)
        for name, dtype in found.items():
            assert dtype == getattr(xp, name) == xp.empty(1, dtype=dtype, device=device).dtype


def test_an_unknown_kind_or_device_is_refused(xp):
    info = xp.__array_namespace_info__()
    with pytest.raises(ValueError, match="kind must be None or of bool, signed integer, .*, got 'float'"):
        info.dtypes(kind="float")
    for ask in (info.dtypes, info.default_dtypes):
        with pytest.raises(DeviceError, match=f"{xp.name} can use the devices cpu.* here, got cuda:63"):
            ask(device="cuda:63")
