"""Which tests an environment of ci/test runs: a test runs where it could fail for a reason of its own.

    all         every test (the environment `current`)
    frameworks  what runs on PyTorch or OneFlow (the environment of OneFlow, with the oldest PyTorch)
    versions    what the versions of Python and NumPy decide: every test but those of ONCE

`ci/test --everywhere`, nightly.yml and `ci/matrix --tests` run every test in every environment.
"""

from __future__ import annotations

WHERE = ("all", "frameworks", "versions")

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
    "tests/test_docstrings.py",
    "tests/test_files.py",
    "tests/test_pages.py",
    "tests/test_scale.py",
    "tests/test_wording.py",
    "tests/verify/test_plugin.py",
)

#: Tests of a framework that take it by other ways than the fixture `backend` or the marker `needs`.
OF_FRAMEWORKS = ("tests/backends/test_oneflow_import.py", "tests/yolov5/test_distributed.py")


def runs_here(item, file: str, where: str) -> bool:
    """Return whether a test runs in an environment: item, its file from the root of the project, one of WHERE."""
    if where == "frameworks":
        return file in OF_FRAMEWORKS or of_a_framework(item)
    return where == "all" or not file.startswith(ONCE)


def of_a_framework(item) -> bool:
    needed = {name for marker in item.iter_markers("needs") for name in marker.args}
    backends = getattr(item, "callspec", None) and [
        str(item.callspec.params[name]) for name in ("backend", "grad_backend") if name in item.callspec.params
    ]
    return bool(needed & {"torch", "oneflow"}) or any(name != "numpy" for name in backends or ())
