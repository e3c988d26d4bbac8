"""Which tests an environment of ci/test runs: a test runs where it could fail for a reason of its own.

    all         every test (the environment `current`)
    frameworks  what runs on PyTorch or OneFlow (the environment of OneFlow, with the oldest PyTorch)
    stand-ins   on the pretend device and array-api-strict: STAND_INS_RUN; hypothesis with few examples
    versions    what the versions of Python and NumPy decide: every test but those of ONCE

`ci/test --everywhere`, nightly.yml and `ci/matrix --tests` run every test in every environment.
"""

from __future__ import annotations

WHERE = ("all", "frameworks", "stand-ins", "versions")

#: Files and folders that no version of Python or NumPy decides: text, pages, processes, the file system.
ONCE = (
    "tests/faults/",
    "tests/backends/test_array_api_command.py",
    "tests/datasets/test_cache.py",
    "tests/datasets/test_workers.py",
    "tests/modelfiles/test_power_cut.py",
    "tests/reporting/",
    "tests/test_architecture.py",
    "tests/test_atomic.py",
    "tests/test_cli_arguments.py",
    "tests/test_cli_hostile_names.py",
    "tests/test_cli_process.py",
    "tests/test_cli_reports.py",
    "tests/test_cli_streams.py",
    "tests/test_cuda_command.py",
    "tests/test_docstrings.py",
    "tests/test_files.py",
    "tests/test_pages.py",
    "tests/test_scale.py",
    "tests/test_wording.py",
    "tests/verify/test_plugin.py",
)

#: The backends of tests/helpers/pretend_device.py and strict_backend.py.
STAND_INS = ("torch:pretend", "strict")
_ON_BOTH = (
    "tests/test_boxes.py",
    "tests/test_metrics.py",
    "tests/backends/test_dispatch.py",
    "tests/fitting/test_evolve.py",
    "tests/training/test_decode.py",
    "tests/training/test_losses.py",
    "tests/training/test_padded.py",
    "tests/training/test_targets.py",
    "tests/verify/test_verify.py::test_every_case_of_a_subject_is_equal",
    "tests/yolov5/test_autoanchor.py",
)
#: What the environment `stand-ins` runs: backend -> files, or FILE::FUNCTION. `anchorlib verify` has every subject; the
#: others hold what it leaves out: recordings, crossings, gradients, and the ways from and to the host.
STAND_INS_RUN = {
    "torch:pretend": (
        *_ON_BOTH,
        "tests/test_crossings.py",
        "tests/test_yolov7.py",
        "tests/backends/test_gradients.py",
        "tests/fitting/test_fit_anchors.py",
        "tests/fitting/test_kmeans.py",
        "tests/training/test_checks.py",
        "tests/training/test_compute_loss.py",
        "tests/training/test_masks.py",
        "tests/training/test_ota.py",
        "tests/training/test_waits.py",
        "tests/yolov5/test_segment.py",
    ),
    "strict": (*_ON_BOTH, "tests/fitting/test_curve.py"),
}
#: Functions that these backends cannot run: the pretend device has no autocast.
NOT_ON_STAND_INS = ("test_it_runs_under_autocast",)

#: Tests of a framework that take it by other ways than the fixture `backend` or the marker `needs`.
OF_FRAMEWORKS = ("tests/backends/test_oneflow_import.py", "tests/yolov5/test_distributed.py")


def runs_here(item, file: str, where: str) -> bool:
    """Return whether a test runs in an environment: item, its file from the root of the project, one of WHERE."""
    if where == "frameworks":
        return file in OF_FRAMEWORKS or of_a_framework(item)
    if where == "stand-ins":
        function = getattr(item, "originalname", "")
        listed = {name for one in needed_by(item) for name in STAND_INS_RUN.get(one, ())}
        return function not in NOT_ON_STAND_INS and (file in listed or f"{file}::{function}" in listed)
    return where == "all" or not file.startswith(ONCE)


def of_a_framework(item) -> bool:
    return bool(needed_by(item) - {"numpy", "dask", "browser"})


def needed_by(item) -> set[str]:
    """Return the backends and extras that a test runs on or needs."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    needed = {name for marker in item.iter_markers("needs") for name in marker.args}
    return needed | {str(params[name]) for name in ("backend", "grad_backend") if name in params}
