import json
import subprocess
import sys

import numpy as np
import pytest

from anchorlib.backends import _spec, namespace_of
from anchorlib.cli import main
from anchorlib.training import targets as targets_module
from anchorlib.verify import SUBJECTS, Target, find_targets, select, verify
from anchorlib.verify.cases import Cases
from anchorlib.verify.compare import SHOWN, differences


def run(*arguments, capsys):
    code = main(["verify", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def here(backend):
    return ["--backends", f"{backend.name}:{backend.device}"]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_case_of_a_subject_is_equal(backend, subject):
    outcomes = list(verify(select(1, subject=subject), find_targets(f"{backend.name}:{backend.device}")))
    assert len(outcomes) >= 4
    assert [(o.case.label, str(o.target), o.differences) for o in outcomes if o.differences] == []


def test_every_name_of_the_spec_that_computes_is_among_the_functions():
    labels = [case.label for case in select(0, subject="functions")]
    tested = set(labels)
    assert len(labels) == len(tested)  # one row a name
    left_out = """bool int32 int64 float32 float64 inf nan pi isdtype finfo iinfo result_type
        name version Module devices device_of to_device in_host_memory
        asarray arange zeros ones full empty zeros_like ones_like full_like
        from_numpy to_numpy detach overwrite with_gradient
        ranks sum_over_ranks"""  # of the last ones, ComputeLoss and every case use the first five
    assert tested == set(_spec.NAMES) - set(left_out.split())


def test_what_numpy_answers_is_not_compared_with_numpy():
    outcomes = list(verify(select(0, subject="functions"), find_targets("numpy")))
    assert {outcome.case.label for outcome in outcomes} == {
        "sigmoid", "bce_with_logits", "log_softmax", "put_rows", "put_last", "add_rows", "repeat_each", "split_rows",
    }  # fmt: skip


def test_the_table_has_a_line_for_each_subject_and_the_code_is_0(backend, capsys):
    code, out, err = run(*here(backend), "--subject", "metrics", capsys=capsys)
    assert (code, err) == (0, "")
    assert "metrics" in out
    assert backend.xp.version in out
    assert "5 equal" in out
    assert "seed 0" in out


def test_a_difference_of_one_ulp_in_minimum_is_found_and_named(grad_backend, monkeypatch, capsys):
    backend = grad_backend
    xp, right = backend.xp, backend.xp.minimum

    def wrong(x, y):
        found = xp.to_numpy(right(x, y)).copy()
        if found.dtype == np.float32 and found.size:
            found.flat[-1] = np.nextafter(found.flat[-1], np.float32(np.inf))
        return xp.from_numpy(found, device=backend.device)

    monkeypatch.setattr(xp, "minimum", wrong)
    code, out, _ = run(*here(backend), "--subject", "functions", capsys=capsys)
    assert code == 1
    message = [line for line in out.splitlines() if line.startswith("DIFFERENT")]
    assert message
    assert all("(minimum)" in line for line in message)
    assert "minimum float32[64]: got " in out
    case = next(case for case in select(0, subject="functions") if case.label == "minimum")
    assert f"--subject 'functions' --case {case.number} --seed 0" in out
    code, again, _ = run(*here(backend), "--subject", "functions", "--case", str(case.number), capsys=capsys)
    assert code == 1
    assert message[0] in again


def test_an_off_by_one_in_build_targets_is_found_and_named(backend, monkeypatch, capsys):
    right = targets_module._plan.__wrapped__

    def wrong(*arguments):
        plan = right(*arguments)
        one_more = namespace_of(plan.step_last).from_numpy(np.asarray([[0], [0], [1], [1]], np.float32))
        return plan._replace(step_last=plan.step_last + one_more)

    monkeypatch.setattr(targets_module, "_plan", wrong)
    code, out, _ = run(*here(backend), "--subject", "build_targets", capsys=capsys)
    assert code == 1
    assert "(borders)" in out
    assert "outside the grid of 8 x 8, is only in theirs" in out
    assert "target row" in out


def test_a_shifted_neighbour_is_found_without_the_views_only(backend, monkeypatch):
    """The targets without views run other code."""
    if backend.name == "numpy" or backend.device != "cpu":
        pytest.skip("the same arrays with views and without")
    xp, right = backend.xp, backend.xp.floor
    monkeypatch.setattr(xp, "floor", lambda x: right(x) + 1)
    outcomes = verify(select(0, subject="build_targets"), find_targets(backend.name))
    red = {str(outcome.target) for outcome in outcomes if outcome.differences}
    assert red == {f"{backend.name}:cpu, no views"}


def test_json_has_every_case_and_its_differences(grad_backend, monkeypatch, capsys):
    backend = grad_backend
    monkeypatch.setattr(backend.xp, "logical_xor", backend.xp.logical_or)
    code, out, _ = run(*here(backend), "--subject", "functions", "--seed", "3", "--json", capsys=capsys)
    result = json.loads(out)
    assert (code, result["equal"], result["seed"]) == (1, False, 3)
    assert result["versions"] == {backend.name: backend.xp.version}
    red = {case["label"] for case in result["cases"] if case["differences"]}
    assert red == {"logical_xor"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backends", "jax"], "no backend is called 'jax'"),
        (["--backends", "numpy:cuda"], "numpy:cuda was requested, but numpy can use only the devices cpu"),
        (["--backends", ","], "--backends must be a comma list"),
        (["--devices", "tpu"], "--devices must be of cpu, cuda"),
        (["--backends", "numpy", "--subject", "weather"], "no subject is called 'weather'"),
        (["--backends", "numpy", "--subject", "metrics", "--case", "99"], "metrics has no case 99; the last is 4"),
        (["--backends", "numpy", "--seed", "-1"], "seed must be an integer >= 0"),
        (["--backends", "numpy", "--candidate", "os:getcwd"], "with one of ComputeLoss"),
        (["--backends", "numpy", "--candidate", "no_such:ComputeLoss"], "did not import: ModuleNotFoundError"),
        (["--backends", "numpy", "--candidate", "os:ComputeLoss"], "did not import: AttributeError"),
    ],
)
def test_what_cannot_be_done_ends_with_2(options, message, capsys):
    code, out, err = run(*options, capsys=capsys)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("name", ["torch", "oneflow"])
def test_a_backend_that_does_not_import_ends_with_2(name):
    hide = f"import sys; sys.modules[{name!r}] = None; from anchorlib.cli import main; "
    ask = f"sys.exit(main(['verify', '--backends', 'numpy,{name}']))"
    result = subprocess.run([sys.executable, "-c", hide + ask], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"backend {name!r} did not import" in result.stderr


def test_a_case_that_raises_or_writes_is_different(backend):
    made = Cases("here", 0)

    def writes(target):
        array = target.array([1.0, 2.0])
        array[0] = 5.0
        return {}

    def raises(target):
        raise ValueError("trouble\nand its details")

    made.add("writes", writes, dict)
    made.add("raises", raises, dict)
    writing, raising = (case.check(Target(f"{backend.name}:{backend.device}")) for case in made.made)
    assert len(writing) == 1
    assert "written to" in writing[0] or "read-only" in writing[0]
    assert raising[0].startswith("raised ValueError: trouble (")
    assert "test_verify.py:" in raising[0]


ONE = np.asarray([1.0, 0.0, np.nan, np.inf], np.float32)


@pytest.mark.parametrize(
    ("found", "rtol", "n"),
    [
        (ONE.copy(), 0.0, 0),
        (ONE.astype(np.float64), 0.0, 1),  # another dtype
        (ONE[:3], 0.0, 1),  # another shape
        (np.nextafter(ONE, np.float32(0)), 0.0, 2),  # the infinity and the one
        (ONE * np.float32(-1), 0.0, 3),  # also the zero
        (ONE + np.asarray([1e-6, 0, 0, 0], np.float32), 0.0, 1),
        (ONE + np.asarray([1e-6, 0, 0, 0], np.float32), 1e-5, 0),
        (ONE + np.asarray([1e-4, 0, 0, 0], np.float32), 1e-5, 1),
        (np.asarray([1.0, np.nan, np.nan, np.inf], np.float32), 1e-5, 1),
        (np.asarray([1.0, 0.0, 0.0, np.inf], np.float32), 1e-5, 1),
        (np.asarray([1.0, 0.0, np.nan, 3.0], np.float32), 1e-5, 1),
    ],
)
def test_differences_are_counted(found, rtol, n):
    assert len(differences({"x": found}, {"x": ONE}, rtol)) == n


def test_many_differences_are_counted_and_the_first_told():
    lines = differences({"x": np.arange(9)}, {"x": np.arange(9) + 1})
    assert len(lines) == SHOWN + 1
    assert lines[-1] == "x: and 4 more"


def test_a_missing_answer_is_a_difference():
    assert differences({}, {"x": ONE}) == ["got nothing, expected x"]


def test_the_same_seed_makes_the_same_cases_and_another_does_not():
    def answers(seed):
        (case,) = select(seed, subject="build_targets", number=2)
        return case.expected()

    assert differences(answers(0), answers(0)) == []
    assert differences(answers(0), answers(1)) != []
