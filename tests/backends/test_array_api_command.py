"""ci/array-api turns red when it should: on a suite of its own that is green, and on the ways in which it is not.

The suite is made here, in the layout of data-apis/array-api-tests, and tries NumPy's namespace.
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SUITE = {
    "conftest.py": """
def pytest_addoption(parser):
    parser.addoption("--max-examples")
    parser.addoption("--disable-deadline", action="store_true")
""",
    "array_api_tests/__init__.py": """
import os
from importlib import import_module

api_version = os.environ["ARRAY_API_TESTS_VERSION"]
xp = import_module(os.environ["ARRAY_API_TESTS_MODULE"])
""",
    "array_api_tests/stubs.py": """
from . import xp

name_to_func = {name: getattr(xp, name) for name in vars(xp) if callable(getattr(xp, name))}
""",
    "array_api_tests/test_names.py": """
import os

import pytest

from . import xp
from .stubs import name_to_func


@pytest.mark.parametrize("name", name_to_func)
def test_has_names(name):
    assert callable(getattr(xp, name))


@pytest.mark.parametrize("name", ["add", "__add__"])
def test_add(name):  # __add__ is the array's own, and left out
    assert name == "add"


@pytest.mark.min_version("2999.12")
def test_subtract():  # of a standard to come: left out
    raise AssertionError


class TestResultType:
    def test_shuffled(self):  # is about result_type
        assert xp.result_type(xp.int32, xp.int64) == xp.int64


@pytest.mark.parametrize("name", ["devices", "__array_namespace_info__"])
def test_info_func_signature(name):
    assert callable(getattr(xp.__array_namespace_info__(), name, None) or getattr(xp, name))


def test_getitem():  # of the array itself: left out
    raise AssertionError
""",
    "array_api_tests/test_inspection_functions.py": """
from . import xp


def test_devices():
    assert xp.__array_namespace_info__().devices()
""",
}
SUM, SQRT = "array_api_tests/test_names.py::test_sum", "array_api_tests/test_names.py::test_sqrt"
WRONG_SUM = "def test_sum():\n    assert xp.sum(xp.asarray([1, 2])) == 4"
SKIPPED_SQRT = "@pytest.mark.skip(reason='flaky')\ndef test_sqrt():\n    pass"


@pytest.fixture
def command():
    location = str(ROOT / "ci" / "array-api")
    loader = importlib.machinery.SourceFileLoader("array_api_command", location)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    path = list(sys.path)
    loader.exec_module(module)
    sys.path[:] = path
    return module


@pytest.fixture
def run(command, tmp_path, monkeypatch, capfd):
    def run(*tests, skips="", without=None):
        for name, text in SUITE.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            text = text.replace("if callable", f"if name != {without!r} and callable")
            added = "".join(f"\n\n{test}\n" for test in tests) if name.endswith("test_names.py") else ""
            (tmp_path / name).write_text(text + added, encoding="utf-8")
        (tmp_path / "skips.txt").write_text(skips, encoding="utf-8")
        monkeypatch.setattr(command, "SKIPS", tmp_path / "skips.txt")
        monkeypatch.setattr(sys, "argv", ["array-api", "--suite", str(tmp_path), "--backends", "numpy"])
        return command.main(), capfd.readouterr().out

    return run


def test_a_green_suite_is_green(run):
    code, out = run()
    assert code == 0, out
    assert "76 of 76" in out
    assert "numpy" in out.splitlines()[-1]  # the table is the end: nothing failed
    assert "\nabout no function of the standard, and left out: test_getitem, test_has_names\n" in out  # here: dtypes


def test_tests_of_a_class_and_of_the_inspection_are_run(run):
    """In the suite, only the class of some tests of result_type says what they are about."""
    wrong = """
class TestTake:
    def test_backwards(self):
        assert xp.take(xp.asarray([1, 2]), xp.asarray([-1]))[0] == 1


@pytest.mark.parametrize("name", ["dtypes"])
def test_info(name):
    assert not hasattr(xp.__array_namespace_info__(), name)
"""
    code, out = run(wrong)
    assert code == 1
    for test in ("TestTake::test_backwards", "test_info[dtypes]"):
        assert f"FAILED numpy: array_api_tests/test_names.py::{test} failed, with no line in skips.txt: " in out


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (WRONG_SUM, f"FAILED numpy: {SUM} failed, with no line in skips.txt: "),
        (SKIPPED_SQRT, f"FAILED numpy: {SQRT} skipped, with no line in skips.txt: "),
    ],
    ids=["failure", "skip"],
)
def test_one_fault_alone_is_red_and_named(run, test, said):
    code, out = run(test)
    assert code == 1
    assert said in out


def test_a_test_that_kills_the_process_is_red_and_those_after_it_run(run):
    code, out = run("def test_max():\n    os.abort()", WRONG_SUM)
    assert code == 1
    assert "test_max failed, with no line in skips.txt: ended the process with " in out
    assert f"FAILED numpy: {SUM} failed" in out


def test_skips_and_failures_with_a_line_are_counted_and_green(run):
    code, out = run(SKIPPED_SQRT, WRONG_SUM, skips=f"* {SQRT}  # why\nnumpy<99 {SUM}  # why\n")
    assert code == 0, out
    assert out.splitlines()[-1].split()[3:5] == ["0", "2"]  # failed, skipped with reason


def test_lines_that_are_needed_no_longer_and_functions_not_tried_are_red(run):
    add = "numpy array_api_tests/test_names.py::test_add[add]  # why\n"
    code, out = run(skips=f"{add}numpy no_such_test  # why\n", without="exp")
    assert code == 1
    assert "test_add[add] passes; its line in skips.txt is needed no longer" in out
    assert "no test begins with no_such_test" in out
    assert "FAILED numpy: no test of the suite is about exp" in out


def test_a_line_is_for_its_backend_and_versions(command, tmp_path):
    path = tmp_path / "skips.txt"
    path.write_text("# a comment\n\n* a  # why\nnumpy b[x(y, z)]  # so: #1\nnumpy<2 c  # why\ntorch d  # why\n")
    assert command.read_skips(path, "numpy", "2.4.6") == {"a": "why", "b[x(y, z)]": "so: #1"}
    assert command.read_skips(path, "numpy", "1.26.4") == {"a": "why", "b[x(y, z)]": "so: #1", "c": "why"}
    assert command.read_skips(path, "torch", "1.13.1+cu117") == {"a": "why", "d": "why"}


@pytest.mark.parametrize("line", ["numpy test_sum", "numpy test_sum  # ", "cupy test_sum  # why", "test_sum  # why"])
def test_a_line_without_a_backend_or_a_reason_is_refused(command, tmp_path, line):
    (tmp_path / "skips.txt").write_text(line)
    with pytest.raises(SystemExit, match="is needed, got"):
        command.read_skips(tmp_path / "skips.txt", "numpy", "2.0")
