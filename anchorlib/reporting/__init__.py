"""Turn results into text, JSON, HTML pages and pictures. Nothing here prints; matplotlib is loaded to draw only."""

from anchorlib.reporting.html import Origin, curve_page, report_page
from anchorlib.reporting.labels import LabelReport
from anchorlib.reporting.matplotlib_plots import curve_png, kmeans_gif, kmeans_steps, report_png
from anchorlib.reporting.report import LayerUse, Report, measure_layers
from anchorlib.reporting.report_data import Figures, measure_figures

__all__ = [
    "Figures",
    "LabelReport",
    "LayerUse",
    "Origin",
    "Report",
    "curve_page",
    "curve_png",
    "kmeans_gif",
    "kmeans_steps",
    "measure_figures",
    "measure_layers",
    "report_page",
    "report_png",
]
