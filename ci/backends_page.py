"""Write docs/backends.md from backends/_spec.py.

python ci/backends_page.py        tests/backends/test_page.py fails if the page is stale
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "backends.md"

HEAD = """# What each backend can do

`python ci/backends_page.py` writes this page from `backends/_spec.py`; do not edit it here. `xp` is the module that
`anchorlib.backends.namespace_of(array)` returns.

The names of a backend fall into three groups:

- The **core**: names of the Python array API standard, 2024.12, that the library's algorithms call.
- The **extras**: what the algorithms need and the standard lacks.
- Everything else of the standard, for users' own array-API code. NumPy, torch and OneFlow have all of it; a new backend
  may do without it.

The following tests compare the backends with NumPy and with the standard:

- tests/backends/test_namespaces.py calls every name with values worked out by hand, and at the edges: empty arrays, 0-d
  arrays, NaN, infinity. test_traps.py and test_promotion.py test what frameworks are known to do wrong.
  test_standard.py tests signatures, Python numbers as arguments, and what `__array_namespace_info__()` returns.
- Arrays of array-api-strict, which refuse what the standard does not promise, run through the library's algorithms and
  give NumPy's results: `pytest --backends strict`.
- `ci/array-api` runs the official suite, data-apis/array-api-tests, for every function of the standard below. What a
  backend does not pass is in `ci/array-api-skips.txt`, with the reason. ci.yml and nightly.yml run it on the tag
  2026.02.26.
- `anchorlib verify` has one case for each function, and runs on a user's own machine.

Results for the standard 2024.12 on 2026-11-29, with array-api-compat 1.16 and 50 examples a test (OneFlow: 30):

| backend | version | passed | failed | skipped with reason | functions |
| --- | --- | --- | --- | --- | --- |
| numpy | 2.4.6 | 469 | 0 | 1 | 76 of 76 |
| numpy | 1.26.4 | 469 | 0 | 1 | 76 of 76 |
| torch | 2.13.0 | 469 | 0 | 1 | 76 of 76 |
| torch | 1.13.1 | 469 | 0 | 1 | 76 of 76 |
| oneflow | 0.9.0 | 467 | 0 | 3 | 76 of 76 |

These results come from a copy of the suite that was put together from texts of several versions, not from the tag:

- The tests of signatures, inspection, special cases and result types, and most of those of functions of one or two
  arrays or of an array and a number, are as stored, without complex numbers. The special cases are those of 2024.12.
- Shortened, merged or rewritten: the helpers that draw arrays and numbers, and the tests of comparisons, names,
  constants, creation and copies, sorting, searching, sums, shapes and of `where` with a number. The signatures of
  sorting and statistical functions are array-api-strict's.

On the tag itself, the code before these changes was run for 2023.12 without test_inspection_functions.py and the
signature of `expand_dims`: NumPy 2.4 and torch 2.13 passed 363 tests, OneFlow 360. ci.yml runs the whole tag for
2024.12, and has not run yet.

Operators and methods belong to the arrays, and no backend has complex numbers: the suite's tests of them are not run.
ci/array-api lists the tests that name no function of the standard, and leaves them out. The suite skips its test of
`remainder` for arrays, and does not compare the values of `searchsorted`; test_traps.py tests both.
"""


def page() -> str:
    """Return the text of the page."""
    location = ROOT / "backends" / "_spec.py"  # by its path: the page needs no NumPy
    module = importlib.util.spec_from_file_location("spec", location)
    spec = importlib.util.module_from_spec(module)
    module.loader.exec_module(spec)
    backends = list(spec.FRAMEWORKS)

    def cell(backend: str, name: str) -> str:
        dtypes, why = spec.FRAMEWORKS[backend].limits.get(name, ((), ""))
        return f"not {', '.join(dtypes)}: {why}" if dtypes else "yes"

    dtypes = [[f"`{dtype}`", *("yes" for _ in backends)]
              for dtype in spec.KINDS["any"]]  # fmt: skip
    devices = [[device, *(spec.FRAMEWORKS[b].devices[device] for b in backends)] for device in ("cpu", "cuda")]
    standard = [
        [
            f"`{name}`",
            "yes" if name in spec.CORE else "",
            meaning,
            ", ".join(spec.KINDS[spec.TAKES[name]]) if name in spec.TAKES else "",
            *(cell(backend, name) for backend in backends),
        ]
        for name, meaning in spec.STANDARD.items()
    ]
    extras = [[f"`{name}`", meaning, *(cell(b, name) for b in backends)] for name, meaning in spec.EXTRAS.items()]
    return "\n".join(
        [
            HEAD,
            "## dtypes\n",
            table(["dtype", *backends], dtypes),
            "The losses and the IoU functions also accept float16 and bfloat16 arrays of NumPy and torch, and "
            "compute in float32.\n",
            "## Devices\n",
            table(["device", *backends], devices),
            "## Names of the standard\n",
            "A function without dtypes in its row takes all five, or does not depend on them.\n",
            table(["name", "core", "meaning", "dtypes", *backends], standard),
            "## Extras\n",
            table(["name", "meaning", *backends], extras),
        ]
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(one.replace('|', chr(92) + '|') for one in line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
