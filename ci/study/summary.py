"""Turn the results of runs into a table: means, spreads, noise."""

from __future__ import annotations

import math
import statistics


def best_epoch(run: dict) -> int:
    """Return the index of the epoch that the peer keeps: the first with the best 0.1 mAP50 + 0.9 mAP50-95."""
    kept = [0.1 * fifty + 0.9 * both for fifty, both in zip(run["map50"], run["map"])]
    return kept.index(max(kept))


def final(run: dict, key: str) -> float:
    """Return the mAP of the epoch that the peer would keep."""
    return run[key][best_epoch(run)]


def epochs_to_half(run: dict) -> int:
    """Return the first epoch, from 1, whose mAP50 is at least half of the final one."""
    return next(epoch for epoch, value in enumerate(run["map50"], 1) if value >= final(run, "map50") / 2)


def resolve(lines: list[dict]) -> list[dict]:
    """Give each line that only names other anchors (`same_as`) the results of their run with the same seed."""
    runs = {(line["set"], line["anchors"], line["seed"]): line for line in lines if "map50" in line}
    found = []
    for line in lines:
        run = line if "map50" in line else runs.get((line["set"], line["same_as"], line["seed"]))
        found += [{**run, **line}] if run else []
    return found


def cells(lines: list[dict]) -> dict[tuple[str, str], list[dict]]:
    """Group the lines by data set and anchors, in the order in which they first come."""
    found: dict[tuple[str, str], list[dict]] = {}
    for line in lines:
        found.setdefault((line["set"], line["anchors"]), []).append(line)
    return found


def noise(lines: list[dict], key: str) -> dict[str, float]:
    """Return, for each data set, the standard deviation of the final mAP between seeds, pooled over the anchors.

    Sets of anchors with one seed say nothing about it. NaN if no anchors have two seeds.
    """
    squares: dict[str, list[float]] = {}
    freedom: dict[str, int] = {}
    for (name, _), runs in cells([line for line in lines if "same_as" not in line]).items():
        values = [final(run, key) for run in runs]
        squares.setdefault(name, []).append(
            statistics.fmean([(v - statistics.fmean(values)) ** 2 for v in values]) * len(values)
        )
        freedom[name] = freedom.get(name, 0) + len(values) - 1
    return {name: math.sqrt(sum(squares[name]) / freedom[name]) if freedom[name] else math.nan for name in squares}


def table(lines: list[dict]) -> str:
    """Return the Markdown table: a row per data set and anchors, mean and range over the seeds."""
    rows = [
        "| set | anchors | seeds | mAP50 | mAP50-95 | epochs to half | fitness | overwritten on strides 8, 16, 32 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = list(dict.fromkeys(line["set"] for line in lines))
    for (name, anchors), runs in sorted(cells(lines).items(), key=lambda item: order.index(item[0][0])):
        half = statistics.fmean(epochs_to_half(run) for run in runs)
        lost = " / ".join(percent(share, count) for share, count in zip(runs[0]["overwritten"], runs[0]["rows"]))
        parts = [spread([final(run, key) for run in runs]) for key in ("map50", "map")]
        same = [run for run in runs if "same_as" in run]
        some = f"{len(same)} " if len(same) < len(runs) else ""
        also = f" ({some}as {same[0]['same_as']})" if same else ""
        rows.append(
            f"| {name} | {anchors}{also} | {len(runs)} | {parts[0]} | {parts[1]} | {half:.1f} "
            f"| {runs[0]['fitness']:.3f} | {lost} |"
        )
    return "\n".join(rows)


def percent(share: float, rows: int) -> str:
    return f"{100 * share:.0f} %" if rows else "no row"


def spread(values: list[float]) -> str:
    """Return the mean, and the least and the greatest value if there are several."""
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


def compare(lines: list[dict], with_what: str, key: str) -> str:
    """Return a Markdown table of mean differences to one set of anchors, over the seeds that both have, in points.

    Bold: more than twice the standard error that the noise of the data set gives to such a difference. The last column
    is the mean over the data sets that the anchors were trained on.
    """
    deviation = noise(lines, key)
    found = cells(lines)
    sets = list(dict.fromkeys(line["set"] for line in lines))
    names = [n for n in dict.fromkeys(line["anchors"] for line in lines) if n != with_what]
    rows = [f"| minus {with_what} | " + " | ".join(sets) + " | mean |", "|---" * (len(sets) + 2) + "|"]
    for anchors in names:
        row, means, errors = [], [], []
        for name in sets:
            base = {run["seed"]: final(run, key) for run in found.get((name, with_what), ())}
            mine = {run["seed"]: final(run, key) for run in found.get((name, anchors), ())}
            seeds = sorted(base.keys() & mine.keys())
            if seeds:
                means.append(statistics.fmean(mine[s] - base[s] for s in seeds))
                errors.append(deviation[name] * math.sqrt(2 / len(seeds)))
            row.append(difference(means[-1], errors[-1]) if seeds else "")
        if means:
            row.append(difference(statistics.fmean(means), math.hypot(*errors) / len(errors)))
        rows.append(f"| {anchors} | " + " | ".join(row) + " |")
    noises = " | ".join("?" if math.isnan(deviation[name]) else f"{100 * deviation[name]:.1f}" for name in sets)
    return "\n".join([*rows, f"| noise (SD of one run) | {noises} | |"])


def difference(mean: float, error: float) -> str:
    shown = f"{100 * mean:+.1f}"
    return f"**{shown}**" if abs(mean) > 2 * error else shown
