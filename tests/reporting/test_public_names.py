"""Test that the public names of anchorlib.reporting can be imported, without loading matplotlib."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "statement",
    [
        "from anchorlib.reporting import report_page, curve_page, Origin",
        "from anchorlib.reporting import kmeans_steps, kmeans_gif, report_png, curve_png",
        "from anchorlib.reporting import Report, LabelReport, measure_layers, measure_figures",
        "from anchorlib.reporting.plots import kmeans_steps, kmeans_gif",  # the name before matplotlib_plots
    ],
)
def test_public_names_are_imported_without_matplotlib(statement):
    code = f"import sys; sys.modules['matplotlib'] = None; {statement}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
