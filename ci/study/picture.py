"""Draw the results as an SVG: a panel per data set, a row per set of anchors, a dot per run, a bar at the mean."""

from __future__ import annotations

import statistics

from summary import cells, final

LEFT, WIDTH, ROW, TITLE, COLUMNS = 90, 250, 17, 24, 3


def draw(lines: list[dict], key: str, title: str) -> str:
    """Return the SVG of the final values of `key`; a set of anchors that was not trained has a row `= ANCHORS`."""
    found = cells(lines)
    sets = list(dict.fromkeys(line["set"] for line in lines))
    panels = {name: {a: runs for (s, a), runs in found.items() if s == name} for name in sets}
    height = max(TITLE + ROW * len(panel) + 40 for panel in panels.values())
    width = (LEFT + WIDTH + 20) * COLUMNS
    total = 30 + height * -(-len(sets) // COLUMNS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{total}" fill="white"/><text x="10" y="20" font-size="14">{title}</text>',
    ]
    for index, (name, panel) in enumerate(panels.items()):
        x, y = (index % COLUMNS) * (LEFT + WIDTH + 20), 30 + (index // COLUMNS) * height
        parts.append(f'<g transform="translate({x} {y})">{draw_panel(name, panel, key)}</g>')
    return "\n".join([*parts, "</svg>", ""])


def draw_panel(name: str, panel: dict[str, list[dict]], key: str) -> str:
    values = [final(run, key) for runs in panel.values() for run in runs]
    low, high = min(values), max(values)
    margin = max(0.01, 0.06 * (high - low))
    low, high = low - margin, high + margin
    bottom = TITLE + ROW * len(panel)

    def at(value: float) -> str:
        return f"{LEFT + WIDTH * (value - low) / (high - low):.1f}"

    parts = [f'<text x="{LEFT}" y="15" font-weight="bold">{name}</text>']
    parts.append(f'<rect x="{LEFT}" y="{TITLE - 4}" width="{WIDTH}" height="{bottom - TITLE + 4}" fill="#f4f4f4"/>')
    for tick in (low + margin, (low + high) / 2, high - margin):
        parts.append(f'<text x="{at(tick)}" y="{bottom + 14}" text-anchor="middle" fill="#555">{tick:.2f}</text>')
    for row, (anchors, runs) in enumerate(panel.items()):
        y = TITLE + ROW * row + 7
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{anchors}</text>')
        if all("same_as" in run for run in runs):
            parts.append(f'<text x="{LEFT + 6}" y="{y + 4}" fill="#777">= {runs[0]["same_as"]}</text>')
            continue
        mine = [final(run, key) for run in runs]
        middle = at(statistics.fmean(mine))
        parts.append(f'<line x1="{middle}" x2="{middle}" y1="{y - 6}" y2="{y + 6}" stroke="#c33" stroke-width="2"/>')
        parts += [f'<circle cx="{at(value)}" cy="{y}" r="3.5" fill="#357" fill-opacity="0.7"/>' for value in mine]
    return "".join(parts)
