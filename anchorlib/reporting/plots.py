"""Keep the earlier name of `matplotlib_plots` importable."""

from anchorlib.reporting.matplotlib_plots import curve_png, kmeans_gif, kmeans_steps, report_png

__all__ = ["curve_png", "kmeans_gif", "kmeans_steps", "report_png"]
