"""Which tests an environment of ci/test runs: a test runs where it could fail for a reason of its own.

    all         every test but those of NIGHTLY (the environment `current`)
    nightly     every test
    frameworks  what runs on PyTorch or OneFlow (the environment of OneFlow, with the oldest PyTorch)
    stand-ins   what runs on the pretend device and array-api-strict; hypothesis with few examples
    versions    what the versions of Python and NumPy decide: every test but those of ONCE
    python      what the version of Python decides: also without ARITHMETIC, since NumPy is as new in `current`

Of random cases, the environments other than `current` try a fifth: the cases are the same, and what differs there, an
adaptor or a version, shows in most of them. `ci/matrix --tests` in nightly.yml runs them all, and
`ci/test --everywhere` also every test in every environment.
"""

from __future__ import annotations

from helpers.untraced import UNTRACED

WHERE = ("all", "nightly", "frameworks", "stand-ins", "versions", "python")

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

#: Files and folders of computations on NumPy arrays. A NumPy newer than that of `current` meets them every night.
ARITHMETIC = (
    "tests/edges/",
    "tests/fitting/",
    "tests/test_oracle.py",
    "tests/test_yolov2.py",
    "tests/test_yolov7.py",
    "tests/training/",
    "tests/yolov5/",
)

#: Tests that take minutes.
NIGHTLY = ("tests/training/test_padded.py::test_inductor_gives_the_same_targets_loss_and_gradients",)  # compiles C++

#: The backends of tests/helpers/pretend_device.py and strict_backend.py. They run every test that is parametrised over
#: the backend, and those that need one of them, but not:
STAND_INS = ("torch:pretend", "strict")
_ON_NONE = (
    "tests/test_cli",  # the command line takes a framework's name, and no device
    "tests/verify/test_plugin.py",  # another process does not know them, nor does one of the next file
    "tests/yolov5/test_distributed.py",
    "tests/edges/test_arrays.py::test_two_threads_at_once_give_what_one_gives",  # decided by the frameworks' threads
    "tests/training/test_compute_loss.py::test_torch_gradcheck_passes",  # 16 s, and the formulas are those of the CPU
    "tests/training/test_masks.py::test_torch_gradcheck_passes",
    "tests/verify/test_fork_cases.py::test_our_own_code_is_a_good_candidate",  # test_verify has these cases
)
NOT_ON_STAND_INS = {
    "torch:pretend": (
        *_ON_NONE,
        "tests/test_yolov7.py::test_it_runs_under_autocast",  # autocast knows the devices that torch is built for
        "tests/training/test_compute_loss.py::test_it_runs_under_autocast",
        "tests/yolov5/test_segment.py::test_it_runs_under_autocast",
    ),
    "strict": (
        *_ON_NONE,
        "tests/backends/test_namespaces.py",  # of an adaptor that a user may call: dtypes of every kind, NaN and empty
        "tests/backends/test_standard.py",
        "tests/backends/test_traps.py",
        "tests/training/test_loss_modules.py::test_a_loss_is_copied_and_pickled",  # modules have gradients
    ),
}

#: Tests of a framework that take it by other ways than the fixture `backend` or the marker `needs`.
OF_FRAMEWORKS = ("tests/backends/test_oneflow_import.py", "tests/yolov5/test_distributed.py")
#: Pages and examples: those that need only PyTorch run on the newest, and every night on the oldest too.
EXAMPLES = ("tests/test_examples.py", "tests/test_pages.py")


def runs_here(item, file: str, where: str) -> bool:
    """Return whether a test runs in an environment: item, its file from the root of the project, one of WHERE."""
    name = f"{file}::{getattr(item, 'originalname', '')}"
    if name in NIGHTLY:
        return where == "nightly"
    if where == "frameworks":
        if file in EXAMPLES:
            return "oneflow" in needed_by(item)
        return file in OF_FRAMEWORKS or of_a_framework(item)
    if where == "stand-ins":
        return any(not name.startswith(NOT_ON_STAND_INS[one]) for one in needed_by(item) & set(STAND_INS))
    return where in ("all", "nightly") or not file.startswith(ONCE if where == "versions" else ONCE + ARITHMETIC)


def is_traced(item, file: str) -> bool:
    """Return whether coverage counts what a test runs."""
    is_hypothesis = getattr(item.obj, "is_hypothesis_test", False)
    return not is_hypothesis and not {file, f"{file}::{getattr(item, 'originalname', '')}"} & set(UNTRACED)


def number_of_cases(usual: int, where: str) -> int:
    """Return how many of `usual` random cases an environment tries."""
    return usual if where in ("all", "nightly") else max(min(usual, 5), usual // 5)


def of_a_framework(item) -> bool:
    return bool(needed_by(item) - {"numpy", "dask", "browser"})


def needed_by(item) -> set[str]:
    """Return the backends and extras that a test runs on or needs."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    needed = {name for marker in item.iter_markers("needs") for name in marker.args}
    return needed | {str(params[name]) for name in ("backend", "grad_backend") if name in params}
