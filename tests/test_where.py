"""ci/test leaves a test to another environment only where that one decides it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.untraced import UNTRACED
from helpers.where import (
    ARITHMETIC,
    EXAMPLES,
    NIGHTLY,
    NOT_ON_STAND_INS,
    OF_FRAMEWORKS,
    ONCE,
    WHERE,
    is_traced,
    number_of_cases,
    runs_here,
)

ROOT = Path(__file__).parent.parent


def item(needs=(), **params):
    callspec = SimpleNamespace(params=params)
    markers = [SimpleNamespace(args=needs)] if needs else []
    return SimpleNamespace(iter_markers=lambda name: markers, **({"callspec": callspec} if params else {}))


@pytest.mark.parametrize(
    ("one", "file", "frameworks", "versions"),
    [
        (item(), "tests/test_metrics.py", False, True),
        (item(backend="numpy"), "tests/test_metrics.py", False, True),
        (item(backend="torch"), "tests/test_metrics.py", True, True),
        (item(grad_backend="oneflow"), "tests/training/test_losses.py", True, True),
        (item(needs=("torch",)), "tests/test_pages.py", False, False),
        (item(needs=("torch", "oneflow")), "tests/test_pages.py", True, False),
        (item(needs=("torch",)), "tests/test_cli.py", True, True),
        (item(needs=("dask",)), "tests/test_scale.py", False, False),
        (item(), "tests/test_pages.py", False, False),
        (item(size=3), "tests/reporting/test_svg.py", False, False),
        (item(), "tests/yolov5/test_distributed.py", True, True),
    ],
)
def test_a_test_runs_where_it_could_fail_for_a_reason_of_its_own(one, file, frameworks, versions):
    assert runs_here(one, file, "all")
    assert runs_here(one, file, "frameworks") is frameworks
    assert runs_here(one, file, "versions") is versions


@pytest.mark.parametrize(("file", "runs"), [("cli.py", True), ("training/test_ota.py", False), ("pages.py", False)])
def test_arithmetic_is_left_to_the_environment_with_the_same_numpy(file, runs):
    file = f"tests/{file}" if "/" in file else f"tests/test_{file}"
    assert runs_here(item(), file, "python") is runs


@pytest.mark.parametrize(
    ("one", "file", "runs"),
    [
        (item(backend="strict", size=3), "tests/test_metrics.py", True),
        (item(backend="strict"), "tests/test_new.py", True),
        (item(backend="torch:pretend"), "tests/backends/test_traps.py", True),
        (item(backend="strict"), "tests/backends/test_traps.py", False),
        (item(grad_backend="torch:pretend"), "tests/test_metrics.py", True),
        (item(needs=("torch:pretend",)), "tests/test_crossings.py", True),
        (item(backend="torch"), "tests/test_metrics.py", False),
        (item(), "tests/test_metrics.py", False),
        (item(backend="strict"), "tests/test_cli_fit.py", False),
    ],
)
def test_the_stand_ins_run_all_but_what_is_listed_for_them(one, file, runs):
    assert runs_here(one, file, "stand-ins") is runs


def test_what_takes_minutes_runs_at_night_only():
    file, function = NIGHTLY[0].split("::")
    one = item(needs=("torch",))
    one.originalname = function
    assert [where for where in WHERE if runs_here(one, file, where)] == ["nightly"]
    assert runs_here(item(), "tests/test_pages.py", "nightly")
    assert number_of_cases(100, "nightly") == 100


def test_the_lists_name_what_there_is():
    assert [
        name
        for name in (
            *ONCE,
            *ARITHMETIC,
            *EXAMPLES,
            *OF_FRAMEWORKS,
            *UNTRACED,
            *NIGHTLY,
            *(n for names in NOT_ON_STAND_INS.values() for n in names),
        )
        if not is_there(*name.split("::"))
    ] == []


def is_there(file, function=""):
    path = ROOT / file
    if not path.suffix and not path.is_dir():
        return any(ROOT.glob(f"{file}_*.py"))
    return path.exists() and (not function or f"def {function}(" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("usual", "elsewhere"), [(2000, 400), (26, 5), (8, 5), (3, 3)])
def test_only_one_environment_tries_all_random_cases(usual, elsewhere):
    assert number_of_cases(usual, "all") == usual
    assert {number_of_cases(usual, where) for where in ("frameworks", "versions")} == {elsewhere}


def test_coverage_counts_no_random_cases():
    file, function = next(name for name in UNTRACED if "::" in name).split("::")
    known, random, by_hypothesis = item(), item(), item()
    known.originalname, random.originalname, by_hypothesis.originalname = "test_known_values", function, "test_any"
    for one in (known, random, by_hypothesis):
        one.obj = SimpleNamespace(is_hypothesis_test=one is by_hypothesis)
    assert [is_traced(one, file) for one in (known, random, by_hypothesis)] == [True, False, False]
