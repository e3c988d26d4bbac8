"""Which tests an environment of ci/test runs: a test runs where it could fail for a reason of its own.

    all         every test (the environment `current`)
    frameworks  what runs on PyTorch or OneFlow (the environment of OneFlow, with the oldest PyTorch)
    stand-ins   on the pretend device and array-api-strict: STAND_INS_RUN; hypothesis with few examples
    versions    what the versions of Python and NumPy decide: every test but those of ONCE
    python      what the version of Python decides: also without ARITHMETIC, since NumPy is as new in `current`

Of random cases, the environments other than `current` try a fifth: the cases are the same, and what differs there, an
adaptor or a version, shows in most of them. `ci/test --everywhere`, nightly.yml and `ci/matrix --tests` run every test
with all cases in every environment.
"""

from __future__ import annotations

WHERE = ("all", "frameworks", "stand-ins", "versions", "python")

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

#: The backends of tests/helpers/pretend_device.py and strict_backend.py.
STAND_INS = ("torch:pretend", "strict")
_ON_BOTH = (
    "tests/test_boxes.py",
    "tests/test_metrics.py",
    "tests/test_results.py",
    "tests/test_yolov2.py",
    "tests/backends/test_dispatch.py",
    "tests/edges/test_arrays.py",
    "tests/fitting/test_evolve.py",
    "tests/training/test_crowding.py",
    "tests/training/test_decode.py",
    "tests/training/test_losses.py",
    "tests/training/test_padded.py",
    "tests/training/test_targets.py",
    "tests/verify/test_verify.py::test_every_case_of_a_subject_is_equal",
    "tests/yolov5/test_autoanchor.py",
    "tests/yolov5/test_loss.py",
    "tests/yolov5/test_order.py",
)
#: What the environment `stand-ins` runs: backend -> files, or FILE::FUNCTION. `anchorlib verify` has every subject; the
#: others hold what it leaves out: recordings, crossings, gradients, and the ways from and to the host. Not here:
#: tests of the adaptors (namespaces, standard, traps, promotion), since those of the stand-ins are part of the tests;
#: yolov5/test_forks, whose kinds of models take the way of test_autoanchor; fitting/test_layered, test_certify and
#: test_refit, which search on the host from the sizes on; on array-api-strict, tests with indices of NumPy.
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
        "tests/training/test_loss_modules.py",
        "tests/training/test_masks.py",
        "tests/training/test_ota.py",
        "tests/training/test_training_step.py",
        "tests/training/test_waits.py",
        "tests/yolov5/test_segment.py",
    ),
    "strict": (*_ON_BOTH, "tests/fitting/test_curve.py"),
}
#: Functions that these backends do not run: the pretend device has no autocast, and two threads of the host are tried
#: by the frameworks.
NOT_ON_STAND_INS = ("test_it_runs_under_autocast", "test_two_threads_at_once_give_what_one_gives")

#: Tests of random cases, besides those of hypothesis, one of torch.compile, and pages and examples: coverage counts the
#: others. To trace these takes minutes, and a line that only they reach has no test of its own.
UNTRACED = (
    "tests/datasets/test_json_stream.py::test_pieces_give_what_the_whole_file_gives",
    "tests/edges/test_arrays.py::test_two_threads_at_once_give_what_one_gives",
    "tests/fitting/test_certify.py::test_brute_force_never_exceeds_the_bound_whatever_the_prices",
    "tests/fitting/test_certify.py::test_faults_in_the_bound_of_a_cell_are_noticed",
    "tests/training/test_compute_loss.py::test_it_is_right_under_torch_compile",
    "tests/training/test_crowding.py::test_crowding_is_a_slow_count_of_the_rows_of_build_targets",
    "tests/training/test_masks.py::test_mask_loss_matches_the_loop_over_pixels_at_random",
    "tests/training/test_ota.py::test_assign_matches_the_slow_assignment",
    "tests/test_examples.py",
    "tests/test_pages.py",
)

#: Tests of a framework that take it by other ways than the fixture `backend` or the marker `needs`.
OF_FRAMEWORKS = ("tests/backends/test_oneflow_import.py", "tests/yolov5/test_distributed.py")
#: Pages and examples: those that need only PyTorch run on the newest, and every night on the oldest too.
EXAMPLES = ("tests/test_examples.py", "tests/test_pages.py")


def runs_here(item, file: str, where: str) -> bool:
    """Return whether a test runs in an environment: item, its file from the root of the project, one of WHERE."""
    if where == "frameworks":
        if file in EXAMPLES:
            return "oneflow" in needed_by(item)
        return file in OF_FRAMEWORKS or of_a_framework(item)
    if where == "stand-ins":
        function = getattr(item, "originalname", "")
        listed = {name for one in needed_by(item) for name in STAND_INS_RUN.get(one, ())}
        return function not in NOT_ON_STAND_INS and (file in listed or f"{file}::{function}" in listed)
    return where == "all" or not file.startswith(ONCE if where == "versions" else ONCE + ARITHMETIC)


def is_traced(item, file: str) -> bool:
    """Return whether coverage counts what a test runs."""
    is_hypothesis = getattr(item.obj, "is_hypothesis_test", False)
    return not is_hypothesis and not {file, f"{file}::{getattr(item, 'originalname', '')}"} & set(UNTRACED)


def number_of_cases(usual: int, where: str) -> int:
    """Return how many of `usual` random cases an environment tries."""
    return usual if where == "all" else max(min(usual, 5), usual // 5)


def of_a_framework(item) -> bool:
    return bool(needed_by(item) - {"numpy", "dask", "browser"})


def needed_by(item) -> set[str]:
    """Return the backends and extras that a test runs on or needs."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    needed = {name for marker in item.iter_markers("needs") for name in marker.args}
    return needed | {str(params[name]) for name in ("backend", "grad_backend") if name in params}
