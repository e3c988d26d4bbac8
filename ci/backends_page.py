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

Names, keywords and answers are those of the Python array API standard, 2023.12. Two things hold the backends to it:

- tests/backends/test_standard.py and test_promotion.py try every name on every backend: dtypes, shapes that broadcast,
  no entries at all, negative axes, special cases (NaN, infinities, signed zeros), against NumPy and the standard's
  lists.
- `ci/array-api` runs the official suite, data-apis/array-api-tests, for every function below. What a backend does not
  pass is in `ci/array-api-skips.txt`, with the reason. ci.yml and nightly.yml call it on the tag 2026.02.26.

On 2026-11-21 the suite ran here with 100 examples a test, array-api-compat 1.16 and, in the lines marked *, 1.11.2
(the newest for Python 3.9), and nothing failed:

| backend | version | passed | failed | skipped with reason | functions |
| --- | --- | --- | --- | --- | --- |
| numpy | 2.4.6 | 362 | 0 | 2 | 75 of 75 |
| numpy | 1.26.4 | 361 | 0 | 3 | 75 of 75 |
| numpy | 1.26.4 * | 361 | 0 | 3 | 75 of 75 |
| torch | 2.13.0 | 362 | 0 | 2 | 75 of 75 |
| torch | 1.13.1 | 362 | 0 | 2 | 75 of 75 |
| torch | 1.13.1 * | 362 | 0 | 2 | 75 of 75 |
| oneflow | 0.9.0 | 360 | 0 | 4 | 75 of 75 |

That was **not a checkout of the tag**, and the two workflows have not run yet: no package index carries the suite, so
the copy had been written out by hand from its stored text, with only the tests of the functions below, from files of
different dates (some newer than the tag), and a few lines of our own where they did not fit together.

Operators and methods are the arrays' own, and no backend has complex numbers: their tests are left out. The values of
`remainder` and `searchsorted` are for our own tests: the suite skips the one as flaky, and wants an inspection API of
the namespace for the other. OneFlow's `pow` of integers and the sign of -0.0 + -0.0 are the other lines of the file.
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
