"""docs/backends.md from the declarations of backends/_spec.py, which the tests hold the backends to.

python ci/backends_page.py writes it; tests/backends/test_page.py fails while it is stale.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "backends.md"

HEAD = """# What each backend can do

Written by `python ci/backends_page.py` from `backends/_spec.py`; don't edit it here. `xp` is what
`anchorlib.backends.namespace_of(array)` gives.

Names, keywords and answers are those of the Python array API standard. tests/backends/test_standard.py tries every one
on every backend: dtypes, shapes that broadcast, no entries at all, negative axes, special cases (NaN, infinities,
signed zeros), against NumPy and the standard's lists. The official suite (data-apis/array-api-tests) is not a package
of an index and is **not** run here.
"""


def page() -> str:
    """The whole text."""
    location = ROOT / "backends" / "_spec.py"  # by its path: the page needs no NumPy
    module = importlib.util.spec_from_file_location("spec", location)
    spec = importlib.util.module_from_spec(module)
    module.loader.exec_module(spec)
    backends = list(spec.FRAMEWORKS)

    def cell(backend: str, name: str) -> str:
        dtypes, why = spec.LIMITS[backend].get(name, ((), ""))
        return f"not {', '.join(dtypes)}: {why}" if dtypes else "yes"

    dtypes = [[f"`{dtype}`", *("yes" if dtype in spec.DTYPES[b] else "no" for b in backends)]
              for dtype in spec.KINDS["any"]]  # fmt: skip
    devices = [[device, *(spec.DEVICES[b][device] for b in backends)] for device in ("cpu", "cuda")]
    standard = [[f"`{name}`", meaning, ", ".join(spec.KINDS[spec.TAKES[name]]) if name in spec.TAKES else "",
                 *(cell(b, name) for b in backends)] for name, meaning in spec.STANDARD.items()]  # fmt: skip
    extras = [[f"`{name}`", meaning, *(cell(b, name) for b in backends)] for name, meaning in spec.EXTRAS.items()]
    return "\n".join(
        [
            HEAD,
            "## dtypes\n",
            table(["dtype", *backends], dtypes),
            "float16 and bfloat16 of NumPy and torch are accepted by the losses and the IoU family, which compute in "
            "float32.\n",
            "## Devices\n",
            table(["device", *backends], devices),
            "## Names of the standard\n",
            "Where no dtypes are named, all five are taken, or none matters.\n",
            table(["name", "meaning", "dtypes", *backends], standard),
            "## What the standard lacks\n",
            table(["name", "meaning", *backends], extras),
        ]
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(one.replace('|', chr(92) + '|') for one in line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
