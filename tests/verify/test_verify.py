import functools
import json
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from anchorlib.backends import _spec, namespace_of
from anchorlib.cli import github, main
from anchorlib.cli import verify as verify_command
from anchorlib.training import targets as targets_module
from anchorlib.verify import SUBJECTS, Target, find_targets, oracle_losses, select, verify
from anchorlib.verify.cases import Cases
from anchorlib.verify.compare import LISTED, SHOWN, differences


def run(*arguments, capsys):
    code = main(["verify", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def here(backend):
    return ["--backends", f"{backend.name}:{backend.device}"]


@functools.cache  # a case computes its expected answers once, for all backends
def cases_of(subject):
    return list(select(1, subject=subject))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_case_of_a_subject_is_equal(backend, subject):
    if (backend.name, subject) == ("strict", "functions"):
        pytest.skip(
            "they are array-api-strict's own; they refuse a sum of truth values, which the algorithms do not use"
        )
    outcomes = list(verify(cases_of(subject), find_targets(f"{backend.name}:{backend.device}")))
    assert len(outcomes) >= 4
    assert [(o.case.label, str(o.target), o.differences) for o in outcomes if o.differences] == []


def test_every_name_of_the_spec_that_computes_is_among_the_functions():
    labels = [case.label for case in select(0, subject="functions")]
    tested = set(labels)
    assert len(labels) == len(tested)  # one row a name
    left_out = """bool int32 int64 float32 float64 inf nan pi isdtype finfo iinfo result_type
        name version Module why_refused devices device_of to_device in_host_memory
        asarray arange zeros ones full empty zeros_like ones_like full_like
        __array_api_version__ __array_namespace_info__
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
        xp, one_more = namespace_of(plan.step_last), np.asarray([[0], [0], [1], [1]], np.float32)
        one_more = xp.from_numpy(one_more, device=xp.device_of(plan.step_last))
        return plan._replace(step_last=plan.step_last + one_more)

    monkeypatch.setattr(targets_module, "_plan", wrong)
    code, out, _ = run(*here(backend), "--subject", "build_targets", capsys=capsys)
    assert code == 1
    assert "(borders)" in out
    assert "outside the grid of 8 x 8, is only in theirs" in out
    assert "target row" in out


def test_a_shifted_neighbour_is_found_without_the_views_only(backend, monkeypatch):
    """The targets without views run other code."""
    if backend.name == "numpy" or not backend.has_views:
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


def test_many_differences_begin_with_a_summary():
    expected = np.arange(SHOWN + 4) + 1
    lines = differences({"x": np.arange(SHOWN + 4)}, {"x": expected})
    assert lines[0] == "x: 9 of 9 values differ, by up to 1 (0.11 of the largest value) at [0]"
    assert lines[1:3] == ["x[0]: got 0, expected 1", "x[1]: got 1, expected 2"]
    assert len(lines) == SHOWN + 5
    lines = differences({"x": np.zeros(LISTED + 3)}, {"x": np.ones(LISTED + 3)})
    assert len(lines) == LISTED + 2
    assert lines[-1] == "x: and 3 more"


def test_a_difference_of_a_gradient_names_the_cell_and_the_column():
    one = np.zeros((2, 3, 4, 4, 7), np.float32)
    other = one.copy()
    other[1, 2, 3, 0, 4] = 1
    other[1, 2, 3, 0, 6] = 0.5
    assert differences({"by p[0]": one}, {"by p[0]": other}, 1e-5) == [
        "by p[0], image 1, anchor 2, gj 3, gi 0, objectness: got 0, expected 1",
        "by p[0], image 1, anchor 2, gj 3, gi 0, class 1: got 0, expected 0.5",
    ]
    (first, *_) = differences({"by p[0]": one}, {"by p[0]": one + other + 1}, 1e-5)
    assert first.startswith(
        "by p[0]: 672 of 672 values differ, by up to 2 (1 of the largest value) at image 1, anchor 2"
    )


def wrong_iou(monkeypatch):
    right = oracle_losses.box_iou
    monkeypatch.setattr(oracle_losses, "box_iou", lambda *arguments: right(*arguments) + 0.25)


def test_a_difference_takes_a_few_lines_and_the_long_list_goes_to_a_file(backend, monkeypatch, capsys, tmp_path):
    wrong_iou(monkeypatch)
    path = tmp_path / "all.txt"
    code, out, _ = run(*here(backend), "--subject", "box IoU", "--differences", str(path), capsys=capsys)
    assert code == 1
    assert f"All differences: {path}" in out
    assert len(out.splitlines()) <= 45
    listed = path.read_text().splitlines()
    n_different = sum(line.startswith("DIFFERENT") for line in listed)
    assert n_different > 5
    assert f"and {n_different - 5} more cases." in out
    assert sum("24 of 24 values differ, by up to 0.25" in line for line in listed) == n_different


def test_a_list_that_cannot_be_written_does_not_hide_the_results(monkeypatch, capsys):
    wrong_iou(monkeypatch)
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (_ for _ in ()).throw(FileNotFoundError(2, "No folder")))
    code, out, _ = run("--backends", "numpy", "--subject", "box IoU", capsys=capsys)
    assert code == 2
    assert "The list of all differences was not written: No folder." in out
    assert "DIFFERENT" in out


@pytest.mark.parametrize("path", ["", "nowhere/list.txt", "."])
def test_the_file_of_differences_is_checked_before_the_work(path, capsys, monkeypatch):
    monkeypatch.setattr("anchorlib.verify.verify", lambda *_: pytest.fail("the work was done"))
    code, _, err = run("--backends", "numpy", "--differences", path, capsys=capsys)
    assert code == 2
    assert "--differences" in err


def test_the_list_goes_to_the_folder_for_temporary_files_where_no_file_is_named(backend, monkeypatch, capsys, tmp_path):
    wrong_iou(monkeypatch)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code, out, _ = run(*here(backend), "--subject", "box IoU", capsys=capsys)
    (path,) = tmp_path.glob("anchorlib-verify-*.txt")
    assert code == 1
    assert f"All differences: {path}" in out
    code, out, _ = run(*here(backend), "--subject", "metrics", capsys=capsys)
    assert (code, len(list(tmp_path.iterdir()))) == (0, 1)
    assert "All differences" not in out


def test_github_gets_annotations_and_a_summary(backend, monkeypatch, capsys, tmp_path):
    wrong_iou(monkeypatch)
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    code, out, err = run(*here(backend), "--subject", "box IoU", capsys=capsys)
    assert code == 1
    assert "::error" not in out
    notes = [line for line in err.splitlines() if line.startswith("::error title=DIFFERENT")]
    assert 1 <= len(notes) <= 10
    assert all(f"{backend.name}%3A{backend.device}" in note.split("::")[1] for note in notes)
    text = summary.read_text()
    assert text.startswith("before\n### anchorlib verify")
    assert "DIFFERENT" in text
    assert " of " in text
    code, _, err = run(*here(backend), "--subject", "metrics", capsys=capsys)
    assert (code, err) == (0, "")
    assert "5 equal" in summary.read_text()[len(text) :]


def test_without_github_nothing_is_annotated(backend, monkeypatch, capsys, tmp_path):
    wrong_iou(monkeypatch)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code, out, err = run(*here(backend), "--subject", "box IoU", capsys=capsys)
    assert (code, err) == (1, "")
    assert "::error" not in out


def test_the_escapes_of_a_workflow_command_are_those_of_github():
    assert github._escape("100%: a,b\r\nc", ":,") == "100%25%3A a%2Cb%0D%0Ac"


def test_a_terminal_gets_a_progress_bar(backend, monkeypatch, capsys):
    monkeypatch.setattr(verify_command, "wants_bar", lambda options: True)
    bar = verify_command.tqdm
    monkeypatch.setattr(verify_command, "tqdm", lambda **options: bar(**{**options, "delay": 0}))
    code, _, err = run(*here(backend), "--subject", "metrics", capsys=capsys)
    assert code == 0
    assert "comparing" in err


def test_a_run_that_compares_nothing_does_not_pass(capsys):
    number = next(case.number for case in select(0, subject="losses") if case.needs_gradient)
    options = ["--backends", "numpy", "--subject", "losses", "--case", str(number)]
    code, out, err = run(*options, capsys=capsys)
    assert (code, out) == (2, "")
    assert "a run that compares nothing does not pass" in err


def test_a_missing_answer_is_a_difference():
    assert differences({}, {"x": ONE}) == ["got nothing, expected x"]


def test_the_same_seed_makes_the_same_cases_and_another_does_not():
    def answers(seed):
        (case,) = select(seed, subject="build_targets", number=2)
        return case.expected()

    assert differences(answers(0), answers(0)) == []
    assert differences(answers(0), answers(1)) != []
