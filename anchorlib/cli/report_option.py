"""Write the page or picture that the option --report names."""

from __future__ import annotations

import argparse
import datetime
import platform
import shlex
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from anchorlib._version import __version__
from anchorlib.atomic import write_atomically
from anchorlib.backends import load
from anchorlib.cli.common import say_wrote, wants_bar
from anchorlib.datasets.recognition import find_format
from anchorlib.errors import BadValueError
from anchorlib.files import is_folder
from anchorlib.fitting.curve import fit_curve
from anchorlib.modelfiles import SUFFIXES
from anchorlib.reporting import html, matplotlib_plots
from anchorlib.reporting.pictures import cut_pictures
from anchorlib.reporting.report import Report
from anchorlib.reporting.report_data import measure_figures

_LEAST_CURVE = 12  # the curve reaches this number of anchors, or three more than the report has


def add_report_option(command: argparse.ArgumentParser) -> None:
    """Add --report to a command."""
    command.add_argument("--report", metavar="FILE", help="also write the report as a page (.html) or a picture (.png)")


def add_curve_option(command: argparse.ArgumentParser) -> None:
    """Add --no-curve to a command."""
    command.add_argument(
        "--no-curve", action="store_true", help="do not include the number-of-anchors curve in --report (faster)"
    )


def check_report_file(path: Optional[str]) -> None:
    """Check that the report can be written, before the work is done; BadValueError, MissingPackageError."""
    if path is None:
        return
    suffix = Path(path).suffix.lower()
    if suffix not in (".html", ".htm", ".png"):
        raise BadValueError(f"--report writes .html or .png, got {path}.")
    if is_folder(path) or not is_folder(Path(path).parent):
        raise BadValueError(f"--report {path}: name a file in a folder that exists.")
    if suffix == ".png":
        matplotlib_plots.check_installed()


def write_fit_report(report: Report, options: argparse.Namespace) -> None:
    """Write the report on a set of anchors to the file that --report names, if the option is given."""
    if not options.report:
        return
    curve = None
    if not options.no_curve:
        n = sum(len(layer.anchors) for layer in report.layers)
        curve = fit_curve(
            report.boxes.wh,
            range(1, max(_LEAST_CURVE, n + 3) + 1),
            thr=options.thr,
            objective=getattr(options, "objective", "ratio"),  # `anchorlib check` does not have the option
            seed=getattr(options, "seed", 0),
            progress=wants_bar(options),
        )
    figures, made = measure_figures(report), describe_origin(options)
    write_report(
        options.report,
        html=lambda: html.report_page(
            report,
            figures,
            made,
            curve,
            format=_choose_format(options),
            pictures=cut_pictures(report.boxes, figures.unmatched, options.paths, _are_paths(options)),
        ),
        png=lambda: matplotlib_plots.report_png(report, figures, made.command, curve),
    )
    say_wrote(options, options.report)


def _are_paths(options: argparse.Namespace) -> bool:
    """Return True if the names of the images are paths that the reader has opened."""
    return all(find_format(path, options.data_format)[0].name in ("yolo", "darknet") for path in options.paths)


def _choose_format(options: argparse.Namespace) -> str:
    """Return the format of the anchors to copy: that of --out or --anchors, else YOLOv5's."""
    asked = getattr(options, "format", None)
    file = getattr(options, "out", None) or options.anchors or ""
    return asked or SUFFIXES.get(Path(file).suffix.lower(), "yolo")


def write_report(path: str, html: Callable[[], str], png: Callable[[], bytes]) -> None:
    """Write the page or the picture, by the suffix of the path, atomically."""
    is_png = Path(path).suffix.lower() == ".png"
    write_atomically(path, png() if is_png else html().encode("utf-8"))


def describe_origin(options: argparse.Namespace) -> html.Origin:
    """Return the command line, the current time, and the versions of the packages used."""
    framework = getattr(options, "backend", "numpy")
    versions = {"anchorlib": __version__, "Python": platform.python_version(), "numpy": np.__version__}
    versions[framework] = load(framework).version
    now = datetime.datetime.now(datetime.timezone.utc)
    return html.Origin(shlex.join(["anchorlib", *options.arguments]), f"{now:%Y-%m-%d %H:%M} UTC", versions)
