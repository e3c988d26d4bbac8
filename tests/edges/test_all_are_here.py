"""Check that no public function is forgotten: each is in a table of these tests, or named here with a reason."""

import importlib
import importlib.util
import inspect

from helpers.edge_tables import ARRAYS, HOST, LOSSES

MODULES = [
    "anchorlib",
    *(
        f"anchorlib.{name}"
        for name in (
            "backends",
            "datasets",
            "fitting",
            "modelfiles",
            "training",
            "verify",
            "yolov5",
            "yolov5.segment",
            "yolov7",
        )
    ),
]
READ_FILES = "takes a file, not arrays: tests/datasets, tests/modelfiles and ci/fuzz damage those"
RESULTS = "is made by functions of the tables, and compared field by field"
PLACES = "takes names and numbers"

ELSEWHERE = {
    **dict.fromkeys(
        ("read_boxes", "refit", "edit_anchors", "open_anchors", "read_anchors", "read_checkpoint", "may_be_checkpoint",
         "format_of_new_file", "read_input_size", "read_strides", "Checkpoint", "AnchorFile"), READ_FILES,
    ),
    **dict.fromkeys(
        ("AnchorFit", "Refit", "AnchorScore", "AnchorCheck", "Curve", "LayerTargets", "PaddedTargets", "Crowding",
         "LayerCrowding", "BoxSizes", "SizeCounts", "Certificate", "Problem", "BackendInfo", "SixLists"), RESULTS,
    ),
    **dict.fromkeys(
        ("smooth_bce", "smooth_BCE", "available", "host_views", "load", "Case", "Outcome"),
        PLACES,
    ),
    **dict.fromkeys(("Target", "choose_usual_strides", "find_targets", "select", "usual_strides", "verify"), PLACES),
    "write_anchors": "is tried with format_anchors, in one row for each format",
}  # fmt: skip


def found(name):
    """Return the function or class that a dotted name of a table means."""
    parts = name.split(".")
    module = next(".".join(parts[:n]) for n in range(len(parts), 0, -1) if is_module(".".join(parts[:n])))
    value = importlib.import_module(module)
    for part in parts[module.count(".") + 1 :]:
        value = getattr(value, part)
    return value


def is_module(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the parent is not a package
        return False


def public():
    """Return name -> function or class for everything that the packages declare public."""
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value) and not (inspect.isclass(value) and issubclass(value, Exception)):
                yield f"{module.__name__}.{name}", value


def test_every_public_function_is_tried():
    tried = [found(name.split()[0]) for name in {**ARRAYS, **LOSSES, **HOST}]
    left_out = [name for name, value in public() if value not in tried and name.rpartition(".")[2] not in ELSEWHERE]
    assert not left_out


def test_the_list_of_what_is_elsewhere_is_needed():
    names = {name.rpartition(".")[2] for name, _ in public()}
    assert set(ELSEWHERE) <= names
