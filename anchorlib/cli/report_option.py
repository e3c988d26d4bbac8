"""--report: the page or picture of what a command found."""

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
from anchorlib.cli.common import say, wants_bar
from anchorlib.errors import BadValueError
from anchorlib.fitting.curve import fit_curve
from anchorlib.reporting import html, matplotlib_plots
from anchorlib.reporting.report import Report
from anchorlib.reporting.report_data import measure_figures

_LEAST_CURVE = 12  # anchors that the curve goes to, or three more than there are


def add_report_option(command: argparse.ArgumentParser) -> None:
    """--report."""
    command.add_argument("--report", metavar="FILE", help="write a page (.html) or a picture (.png) of it")


def add_curve_option(command: argparse.ArgumentParser) -> None:
    """--no-curve."""
    command.add_argument("--no-curve", action="store_true", help="leave the curve over k out of --report: faster")


def check_report_file(path: Optional[str]) -> None:
    """That the report can be written, before the work is done; BadValueError, MissingPackageError."""
    if path is None:
        return
    suffix = Path(path).suffix.lower()
    if suffix not in (".html", ".htm", ".png"):
        raise BadValueError(f"--report writes .html or .png, got {path}.")
    if Path(path).is_dir() or not Path(path).parent.is_dir():
        raise BadValueError(f"--report {path}: name a file in a folder that is there.")
    if suffix == ".png":
        matplotlib_plots.check_installed()


def write_fit_report(report: Report, options: argparse.Namespace) -> None:
    """The report on a set of anchors as the file that --report names, if it names one."""
    if not options.report:
        return
    curve = None
    if not options.no_curve:
        n = sum(len(layer.anchors) for layer in report.layers)
        curve = fit_curve(
            report.boxes.wh,
            range(1, max(_LEAST_CURVE, n + 3) + 1),
            thr=options.thr,
            objective=getattr(options, "objective", "ratio"),  # check has none
            seed=getattr(options, "seed", 0),
            progress=wants_bar(options),
        )
    figures, made = measure_figures(report), origin(options)
    write_report(
        options.report,
        html=lambda: html.report_page(report, figures, made, curve),
        png=lambda: matplotlib_plots.report_png(report, figures, made.command, curve),
    )
    say(options, f"Wrote {options.report}.")


def write_report(path: str, html: Callable[[], str], png: Callable[[], bytes]) -> None:
    """Whole or not at all."""
    is_png = Path(path).suffix.lower() == ".png"
    write_atomically(path, png() if is_png else html().encode("utf-8"))


def origin(options: argparse.Namespace) -> html.Origin:
    """The command, now, and the versions of what took part."""
    framework = getattr(options, "backend", "numpy")
    versions = {"anchorlib": __version__, "Python": platform.python_version(), "numpy": np.__version__}
    versions[framework] = load(framework).version
    now = datetime.datetime.now(datetime.timezone.utc)
    return html.Origin(shlex.join(["anchorlib", *options.arguments]), f"{now:%Y-%m-%d %H:%M} UTC", versions)
