"""The tests of `pytest -m fast`: some of every room, in under a minute together. See CONTRIBUTING.md."""

#: Files, or FILE::FUNCTION for one test of a slow file.
FAST = (
    "tests/test_boxes.py",
    "tests/test_metrics.py",
    "tests/test_yolov2.py",
    "tests/test_cli_fit.py::test_fit_prints_a_table_and_ends_with_0",
    "tests/test_cli.py::test_bad_input_ends_with_2_and_one_line",
    "tests/backends/test_dispatch.py",
    "tests/datasets/test_voc_coco_darknet.py",
    "tests/edges/test_all_are_here.py",
    "tests/fitting/test_evolve.py",
    "tests/fitting/test_rounding.py",
    "tests/modelfiles/test_anchor_files.py",
    "tests/reporting/test_report_data.py",
    "tests/training/test_losses.py",
    "tests/training/test_targets.py::test_build_targets_known_cells",
    "tests/verify/test_fork_cases.py",
    "tests/yolov5/test_loss.py",
)
