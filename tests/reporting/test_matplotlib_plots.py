import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.report_samples import box_sizes, hostile_report, report_of
from PIL import Image

from anchorlib import fit_curve, kmeans
from anchorlib.errors import BadValueError
from anchorlib.reporting import matplotlib_plots
from anchorlib.reporting.report_data import measure_figures

ROOT = Path(__file__).parents[2]
BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def sizes(n, seed=0):
    return np.exp(np.random.default_rng(seed).normal(3.5, 1.0, (n, 2))).astype(np.float32)


def pixels_of(png, colour):
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return int((abs(pixels - colour).max(axis=2) < 12).sum())


def test_a_report_becomes_one_png_with_the_anchors_before_and_after():
    boxes = box_sizes(sizes(200))
    with_before = report_of(boxes, [[[10, 10]], [[90, 100]]], before=[[15, 15]])
    png = matplotlib_plots.report_png(
        with_before, measure_figures(with_before), "anchorlib fit", fit_curve(boxes.wh, range(1, 5))
    )
    without_before = report_of(boxes, [[[10, 10]], [[90, 100]]])
    png_without = matplotlib_plots.report_png(without_before, measure_figures(without_before))
    assert Image.open(io.BytesIO(png)).size == (1500, 1000)
    assert min(pixels_of(png, BLUE), pixels_of(png_without, BLUE)) > 1000
    assert (pixels_of(png, ORANGE) > 500, pixels_of(png_without, ORANGE)) == (True, 0)


def test_the_picture_of_sizes_has_the_anchors_where_they_are():
    report = report_of(box_sizes(sizes(200)), [[[16, 32]], [[64, 128], [256, 64]]], before=[[8, 4]])
    axes = matplotlib_plots._new_figure(5, 5).add_subplot()
    matplotlib_plots.draw_sizes(axes, report, measure_figures(report))
    drawn = {marks.get_label(): marks.get_offsets().tolist() for marks in axes.collections if len(marks.get_offsets())}
    assert drawn["before"] == [[3, 2]]
    assert drawn["anchors, layer 1: 16.0 × 32.0"] == [[4, 5]]
    assert drawn["anchors, layer 2: 64.0 × 128.0, 256.0 × 64.0"] == [[6, 7], [8, 6]]


def test_bars_and_their_legends_have_one_order_and_no_legend_covers_its_chart():
    report = report_of(box_sizes(sizes(200)), [[[16, 32]], [[64, 128], [256, 64]]], before=[[8, 4]])
    figures, sheet = measure_figures(report), matplotlib_plots._new_figure(15, 5)
    ratios, layers, classes, all_sizes = (sheet.add_subplot(1, 4, i) for i in range(1, 5))
    matplotlib_plots._draw_ratios(ratios, report, figures)
    matplotlib_plots._draw_layers(layers, report)
    matplotlib_plots._draw_classes(classes, figures)
    matplotlib_plots.draw_sizes(all_sizes, report, figures)
    sheet.canvas.draw()
    told = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in (ratios, layers, classes)]
    assert told == [["anchors", "before", "1/thr = 0.25"], ["fits best", "recall"], ["now", "before"]]
    first = {bars.get_label(): bars.patches[0].get_window_extent().y1 for bars in layers.containers}
    assert first["fits best"] > first["recall"]  # higher on the sheet
    for axes in (ratios, layers, classes, all_sizes):
        assert axes.get_legend().get_window_extent().y1 < axes.get_window_extent().y0


def test_the_picture_of_a_curve_has_its_points_and_its_knee():
    curve = fit_curve(30 * sizes(100) ** 0.2, range(1, 9))
    assert curve.knee
    axes = matplotlib_plots._new_figure(5, 5).add_subplot()
    matplotlib_plots.draw_curve(axes, curve)
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["average IoU"].get_ydata().tolist() == [fit.score.avg_iou for fit in curve.fits]
    assert lines["fitness"].get_xdata().tolist() == list(range(1, 9))
    assert f"knee: k = {curve.knee}" in lines
    assert Image.open(io.BytesIO(matplotlib_plots.curve_png(curve, "title"))).size == (800, 500)


def test_names_from_the_data_are_not_formulas():
    report = hostile_report()
    assert matplotlib_plots.report_png(report, measure_figures(report), "$\\frac{$ \udcff")[:4] == b"\x89PNG"


def test_the_sheet_of_steps_goes_from_the_first_to_the_last_step():
    boxes_wh, steps = sizes(200), []
    kmeans(boxes_wh, 4, seed=1, on_step=steps.append)
    figure = matplotlib_plots.kmeans_steps(boxes_wh, 4, seed=1, most=4)
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 4
    assert (titles[0], titles[-1]) == (f"step 1 of {len(steps)}", f"step {len(steps)} of {len(steps)}")
    drawn = sorted(line.get_xydata()[0].tolist() for line in figure.axes[-1].lines if len(line.get_xdata()) == 1)
    assert drawn == sorted(steps[-1].centres.tolist())
    ways = [line.get_xydata() for line in figure.axes[-1].lines if len(line.get_xdata()) == len(steps)]
    assert sorted(way[0].tolist() for way in ways) == sorted(steps[0].centres.tolist())


def test_the_animation_has_a_frame_for_each_step():
    boxes_wh, steps = sizes(60), []
    kmeans(boxes_wh, 3, on_step=steps.append)
    picture = Image.open(io.BytesIO(matplotlib_plots.kmeans_gif(boxes_wh, 3, milliseconds=100)))
    assert picture.n_frames == len(steps) > 2
    picture.seek(picture.n_frames - 1)
    assert picture.info["duration"] == 400


def test_fewer_than_two_pictures_are_refused():
    with pytest.raises(BadValueError, match="at least 2 steps"):
        matplotlib_plots.kmeans_steps(sizes(10), 2, most=1)


def test_without_matplotlib_a_picture_says_how_to_install_it_before_any_work():
    code = "import sys; sys.modules['matplotlib'] = None; from anchorlib.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["fit", "nowhere", "--report", "report.png"]  # the data set would be looked for after
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert result.returncode == 2
    assert "pictures need matplotlib" in result.stderr
    assert "pip install 'matplotlib>=3.5'" in result.stderr
    assert "Traceback" not in result.stderr


def test_nothing_but_a_picture_needs_matplotlib(tmp_path):
    code = "import sys; sys.modules['matplotlib'] = None; from anchorlib.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["fit", "tests/data/bccd", "--report", str(tmp_path / "report.html"), "--no-curve"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "report.html").exists()


def test_drawing_changes_no_global_state_of_matplotlib():
    code = (
        "import sys; import numpy as np; from anchorlib.reporting import matplotlib_plots as plots;"
        "plots.kmeans_steps(np.asarray([[1.0, 2], [3, 4], [50, 60]]), 2);"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


DRAW_ALL = """
import sys
import matplotlib
import numpy as np
from anchorlib import fit_curve
from anchorlib.cli import main
from anchorlib.reporting import curve_png, kmeans_gif, kmeans_steps

data, folder = sys.argv[1:]
before = dict(matplotlib.rcParams)
assert main(["fit", data, "--n", "2", "--no-curve", "--json", "--report", f"{folder}/fit.png"]) == 0
sizes = np.asarray([[10.0, 20.0], [12.0, 20.0], [100.0, 90.0]])
for name, picture in (("curve.png", curve_png(fit_curve(sizes, [1, 2]), "$x$")), ("steps.gif", kmeans_gif(sizes, 2))):
    with open(f"{folder}/{name}", "wb") as file:
        file.write(picture)
assert kmeans_steps(sizes, 2).axes[0].title.get_usetex() is False
assert dict(matplotlib.rcParams) == before
"""


def test_a_matplotlibrc_of_the_current_folder_starts_no_process_and_changes_no_picture(tmp_path):
    data = str(ROOT / "tests/data/bccd")
    for name in ("bin", "hostile", "plain", "pictures"):
        (tmp_path / name).mkdir()
    for name in ("latex", "pdflatex", "xelatex", "lualatex", "dvipng", "gs", "kpsewhich", "luatex"):
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/started-{name}'\nexit 1\n")
        program.chmod(0o755)
    (tmp_path / "hostile/matplotlibrc").write_text(
        "text.usetex: True\nfont.size: 3\naxes.facecolor: black\nsavefig.dpi: 7\nfigure.autolayout: True\n"
    )
    made = {}
    for name in ("hostile", "plain"):
        command = [sys.executable, "-c", DRAW_ALL, data, str(tmp_path / "pictures")]
        path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
        python = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PATH": path, "PYTHONPATH": python}
        ran = subprocess.run(command, cwd=tmp_path / name, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        names = ("curve.png", "steps.gif")  # the footer of fit.png has the time it took
        made[name] = [(tmp_path / "pictures" / picture).read_bytes() for picture in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "hostile", "pictures", "plain"]
    assert made["hostile"] == made["plain"]


def test_a_matplotlibrc_that_cannot_be_read_is_bad_input(tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe\x00 nothing")
    command = [sys.executable, "-m", "anchorlib", "fit", str(ROOT / "tests/data/bccd"), "--report", "r.png"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "pictures need matplotlib" in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr
