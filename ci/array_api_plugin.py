"""What ci/array-api loads into the official suite's pytest: which tests run, and a line for each as it starts and ends.

The lines outlive a test that kills the process, so that the next process knows where to go on.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from anchorlib.backends._spec import KINDS, STANDARD

LOG = Path(os.environ["ANCHORLIB_ARRAY_API_LOG"])
NAMES: dict[str, str] = {}  # test -> the name of the standard that it is about


def write(test: str, event: str, why: str = "") -> None:
    with LOG.open("a", encoding="utf-8") as file:
        print(json.dumps({"test": test, "name": NAMES[test], "event": event, "why": why}), file=file, flush=True)


def name_tested(test: str, known: set[str]) -> str | None:
    """The name of the standard that a test is about; None for an operator or method of the array itself.

    >>> known = {"add", "full", "full_like"}
    >>> [name_tested(test, known) for test in ("f.py::test_add[add(x1, x2)]", "f.py::test_add[__add__(x1, x2)]")]
    ['add', None]
    >>> [name_tested(test, known) for test in ("f.py::test_func_signature[full]", "f.py::TestFull::test_full_like")]
    ['full', 'full_like']
    >>> name_tested("array_api_tests/test_inspection_functions.py::TestInspection::test_devices", known)
    '__array_namespace_info__'
    """
    if "/test_inspection_functions.py::" in test:
        return "__array_namespace_info__"
    function, _, parameters = test.split("::")[-1].partition("[")
    words = re.findall(r"\w+", parameters)
    named = [word for word in words if word in known or word.startswith("__")]
    if not named:
        words = function.removeprefix("test_").split("_")
        named = [name for n in range(len(words), 0, -1) if (name := "_".join(words[:n])) in known]
    return None if not named or named[0].startswith("__") else named[0]


def pytest_collection_modifyitems(config, items):
    from array_api_tests import api_version  # here, for they need the suite's variables
    from array_api_tests.stubs import name_to_func

    known = (set(STANDARD) | set(name_to_func)) - set(KINDS["any"])
    done = set()
    if LOG.exists():
        done = {line["test"] for line in map(json.loads, LOG.read_text(encoding="utf-8").splitlines())}
    left_out = []
    for item in items[:]:
        name = name_tested(item.nodeid, known)
        of_later = any(mark.args[0] > api_version for mark in item.iter_markers("min_version"))
        of_complex = "real(x_i)" in item.nodeid or "imag(x_i)" in item.nodeid  # no backend has complex numbers
        if name not in STANDARD or of_later or of_complex or item.nodeid in done:
            items.remove(item)
            left_out.append(item)
        else:
            NAMES[item.nodeid] = name
    config.hook.pytest_deselected(items=left_out)


def pytest_runtest_logstart(nodeid):
    write(nodeid, "start")


def pytest_runtest_logreport(report):
    if report.when == "call" or not report.passed:  # set-up and tear-down only where something went wrong
        why = ""
        if report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        elif report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = (crash.message if crash else str(report.longrepr)).strip()
        write(report.nodeid, report.outcome, why)
