import importlib
import json
import sys
from pathlib import Path

import pytest

from anchorlib.cli import main
from anchorlib.verify import select
from anchorlib.verify.frameworks import find_frameworks

FORK = Path(__file__).parent / "fork"
NAMES = (
    "ComputeLoss",
    "compute_loss",
    "build_targets",
    "check_anchors",
    "kmean_anchors",
    "check_anchor_order",
    "bbox_iou",
)
BORDERS = "6"  # the case of build_targets with centres on the right and lower border


@pytest.fixture
def verify(monkeypatch, capsys):
    """`anchorlib verify --candidate ...` where the fork is: (code, standard output)."""
    monkeypatch.chdir(FORK)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(backend, candidate, *options):
        code = main(["verify", "--backends", f"{backend.name}:{backend.device}", "--candidate", candidate, *options])
        return code, capsys.readouterr().out

    yield run
    forget_the_fork()


@pytest.fixture
def run_here(monkeypatch, capsys):
    """`anchorlib verify ...` where the fork is, with any options: (code, standard output)."""
    monkeypatch.chdir(FORK)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*options):
        return main(["verify", *options]), capsys.readouterr().out

    yield run
    forget_the_fork()


def forget_the_fork():
    for name in [name for name in sys.modules if name.partition(".")[0] == "utils"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", NAMES)
def test_our_own_code_is_a_good_candidate(grad_backend, verify, name):
    code, out = verify(grad_backend, f"anchorlib.yolov5:{name}")
    assert code == 0, out
    assert f"anchorlib.yolov5:{name}" in out


@pytest.mark.parametrize("candidate", ["utils.loss:ComputeLoss", "utils.loss:ComputeLoss.build_targets"])
def test_a_fork_that_does_it_right_is_equal(grad_backend, verify, candidate):
    # The fork's loops take half a minute for all cases on OneFlow, and long on a device; case 5 is a gradient.
    is_slow = (grad_backend.name, grad_backend.device) != ("torch", "cpu") and candidate == "utils.loss:ComputeLoss"
    options = ["--case", "5"] if is_slow else []
    code, out = verify(grad_backend, candidate, *options)
    assert code == 0, out


@pytest.mark.parametrize(
    ("candidate", "options"),
    [
        ("utils.older:compute_loss", ["--case", "4"]),
        ("utils.older:compute_loss", ["--case", "5"]),  # a gradient
        ("utils.older:check_anchors", []),
        ("utils.older:check_anchor_order", []),
    ],
)
def test_a_fork_of_the_age_of_yolov5_4_is_equal(grad_backend, verify, candidate, options):
    code, out = verify(grad_backend, candidate, *options)
    assert code == 0, out


def test_the_loss_of_a_preset_is_named(grad_backend, verify):
    code, out = verify(grad_backend, "utils.older_balance:compute_loss", "--case", "4")
    assert code == 1
    assert "the loss is that of preset='yolov5-4.0'" in out
    assert "items[1] (objectness): got " in out


@pytest.mark.needs("torch", "oneflow")
@pytest.mark.parametrize("candidate", ["utils.torch_only:ComputeLoss", "utils.torch_only:bbox_iou"])
def test_a_candidate_for_torch_is_not_run_on_oneflow_unless_it_is_requested(run_here, candidate):
    code, out = run_here("--candidate", candidate, "--case", "3")
    assert code == 0, out
    assert "oneflow" not in out
    code, out = run_here("--candidate", candidate, "--case", "3", "--backends", "torch,oneflow")
    assert code == 1
    assert "expected a torch.Tensor" in out


@pytest.mark.needs("torch", "oneflow")
def test_a_candidate_that_names_no_framework_is_run_on_all(run_here):
    code, out = run_here("--candidate", "utils.loss:ComputeLoss", "--case", "3")
    assert code == 0, out
    assert "torch:cpu" in out
    assert "oneflow:cpu" in out


@pytest.mark.needs("torch")
def test_the_frameworks_of_a_module_are_those_of_the_nearest_import(tmp_path, monkeypatch):
    (tmp_path / "far").mkdir()
    for name, text in {
        "far/__init__.py": "",
        "far/lazy.py": "def f():\n    import torch.nn.functional as F\n    return F\n",
        "far/middle.py": "from . import lazy\nimport far.middle\n",
        "far/both.py": "import numpy\ntry:\n    import oneflow\nexcept ImportError:\n    from torch import nn\n",
        "far/none.py": "import json, numpy\nfrom anchorlib.yolov5 import ComputeLoss\n",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {
        name: find_frameworks(importlib.import_module(f"far.{name}"), "/nowhere")
        for name in ("lazy", "middle", "both", "none")
    }
    every = ("numpy", "torch", "oneflow")
    assert found == {"lazy": ("torch",), "middle": ("torch",), "both": ("torch", "oneflow"), "none": every}
    for name in [name for name in sys.modules if name.partition(".")[0] == "far"]:
        del sys.modules[name]


def test_limits_before_the_step_are_named_with_their_cells(grad_backend, verify):
    code, out = verify(grad_backend, "utils.clamped_before:ComputeLoss.build_targets", "--case", BORDERS)
    assert code == 1
    assert "(build_targets, borders)" in out
    # A centre on the right border, x = 8 of 8 columns: the left neighbour of 8 is 7, of 7 it would be 6.
    assert "gi 7 (target row" in out
    assert "is only in ours" in out
    assert "gi 6 (target row" in out
    assert "is only in theirs" in out
    assert "outside the grid" not in out


def test_a_clamp_whose_result_is_thrown_away_is_named_with_its_cells(grad_backend, verify):
    code, out = verify(grad_backend, "utils.clamped_nowhere:build_targets", "--case", BORDERS)
    assert code == 1
    assert "gi 8 (target row" in out
    assert "outside the grid of 8 x 8, is only in theirs" in out


def test_a_loss_on_cells_that_are_not_there_is_not_computed(grad_backend, verify):
    candidate = "utils.clamped_nowhere:ComputeLoss"
    (number,) = (case.number for case in select(0, candidates=[candidate]) if case.label == "loss, borders, anchor_t 4")
    code, out = verify(grad_backend, candidate, "--case", str(number), "--json")
    (case,) = json.loads(out)["cases"]
    assert (code, case["case"]) == (1, number)
    assert ["outside [0, " in line for line in case["differences"]] == [True]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ComputeLoss", "raised ValueError: a fork's own trouble"),
        ("check_anchors", "more than 0.01 lower"),
        ("kmean_anchors", "more than 3% lower"),
        ("check_anchor_order", "anchors[0, 0, 0]: got 0x"),
        ("bbox_iou", "giou[6]: got -0."),
    ],
)
def test_a_mistake_is_reported(grad_backend, verify, name, message):
    code, out = verify(grad_backend, f"utils.mistakes:{name}")
    assert code == 1
    assert message in out
    assert "a fork may print" not in out
