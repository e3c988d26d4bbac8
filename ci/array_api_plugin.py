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
UNNAMED: set[str] = set()  # the tests that tell no function of the standard
INFO = "__array_namespace_info__"
INFO_FUNCTIONS = {"capabilities", "default_device", "default_dtypes", "devices", "dtypes"}


def write(test: str, event: str, why: str = "") -> None:
    with LOG.open("a", encoding="utf-8") as file:
        print(json.dumps({"test": test, "name": NAMES[test], "event": event, "why": why}), file=file, flush=True)


def name_tested(test: str, known: set[str]) -> str | None:
    """The name that a test is about: of the standard, or `__add__` for an operator; None if it tells no name.

    >>> known = {"add", "full", "full_like", "result_type", "devices"}
    >>> [name_tested(test, known) for test in ("f.py::test_add[add(x1, x2)]", "f.py::test_add[__add__(x1, x2)]")]
    ['add', '__add__']
    >>> [name_tested(test, known) for test in ("f.py::test_func_signature[full]", "f.py::TestFull::test_full_like")]
    ['full', 'full_like']
    >>> [name_tested(test, known) for test in ("f.py::TestResultType::test_shuffled", "f.py::test_getitem")]
    ['result_type', None]
    >>> [name_tested(test, known) for test in ("f.py::test_info_func_signature[devices]", "f.py::test_add[add]")]
    ['__array_namespace_info__', 'add']
    """
    if "/test_inspection_functions.py::" in test:
        return INFO
    path, _, parameters = test.partition("[")
    for word in re.findall(r"\w+", parameters):
        if word in known or word.startswith("__"):
            return INFO if word in INFO_FUNCTIONS else word
    *_, owner, function = path.split("::")
    of_class = re.sub("(?<!^)(?=[A-Z])", "_", owner.removeprefix("Test")).lower() if owner.startswith("Test") else ""
    for words in (function.removeprefix("test_").split("_"), of_class.split("_")):
        for n in range(len(words), 0, -1):
            if (name := "_".join(words[:n])) in known:
                return name
    return None


def pytest_collection_modifyitems(config, items):
    from array_api_tests import api_version  # here, for they need the suite's variables
    from array_api_tests.stubs import name_to_func

    known = (set(STANDARD) | set(name_to_func) | INFO_FUNCTIONS) - set(KINDS["any"])
    done = set()
    if LOG.exists():
        done = {line["test"] for line in map(json.loads, LOG.read_text(encoding="utf-8").splitlines())}
    left_out = []
    for item in items[:]:
        name = name_tested(item.nodeid, known)
        of_later = any(mark.args[0] > api_version for mark in item.iter_markers("min_version"))
        of_complex = "real(x_i)" in item.nodeid or "imag(x_i)" in item.nodeid  # no backend has complex numbers
        if name is None:
            UNNAMED.add(item.nodeid.partition("[")[0].rpartition("::")[2])
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


def pytest_terminal_summary(terminalreporter):
    if UNNAMED:
        terminalreporter.write_line(f"about no function of the standard, and left out: {', '.join(sorted(UNNAMED))}")
