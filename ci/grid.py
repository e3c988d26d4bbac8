"""Run the tests of an environment, and print the table at the end of ci/test and ci/matrix."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree

from environments import ENVIRONMENTS, ENVS, ROOT, clean_env, output, title

ASK = "import json, platform; from anchorlib.backends import available; print(json.dumps([platform.python_version(), {\
b.name: {'version': b.version, 'devices': b.devices, 'problem': b.problem} for b in available()}]))"
ASK_VERSIONS = "import importlib.metadata as m, json, sys; print(json.dumps([m.version(one) for one in sys.argv[1:]]))"
#: A backend that tests/helpers make -> the package that it needs.
STAND_INS = {"torch:pretend": "torch", "strict": "array-api-strict"}


def look(name: str, python: str) -> dict:
    """Return the environment's Python, its backends, and the backends to test: name or name:device."""
    version, found = json.loads(output([python, "-c", ASK]))
    backends = ENVIRONMENTS[name].backends
    if set(backends) <= set(STAND_INS):
        packages = [STAND_INS[backend] for backend in backends]
        versions = json.loads(output([python, "-c", ASK_VERSIONS, *packages]))
        found = {backend: {"version": has, "devices": [], "problem": None} for backend, has in zip(backends, versions)}
        return {"python": version, "found": found, "asked": list(backends)}
    with_cuda = [b for b in backends if any(device.startswith("cuda") for device in found[b]["devices"])]
    return {"python": version, "found": found, "asked": [*backends, *(f"{backend}:cuda" for backend in with_cuda)]}


def missing(name: str, result: dict) -> list[str]:
    """Return a line for each backend of the environment that does not import."""
    problems = {backend: result["found"][backend]["problem"] for backend in ENVIRONMENTS[name].backends}
    return [
        f"{name}: {backend} is required but does not import: {problem}"
        for backend, problem in problems.items()
        if problem
    ]


def run_tests(
    name: str, python: str, asked: list[str], for_pytest: list[str], failures: list[str], where: str = "all"
) -> dict:
    """Run the tests in an environment; return counts and seconds. `where`: which tests, see tests/helpers/where.py."""
    environment = ENVIRONMENTS[name]
    report = ENVS / f"{name}.xml"
    report.unlink(missing_ok=True)  # if the process dies, no counts of an earlier run may remain
    runner = [str(Path(python).parent / "pytest")] if environment.pytest == ("pytest",) else [python, "-m", "pytest"]
    started = time.monotonic()
    what = [
        "--backends",
        ",".join(asked),
        "--extras",
        environment.extras,
        "--where",
        where,
        f"--junitxml={report}",
        "-q",
    ]
    if environment.coverage and not for_pytest:
        what += [*(f"--cov={part}" for part in environment.coverage), "--cov-report="]
    env = {**clean_env(), "COVERAGE_FILE": str(coverage_file(name))}
    code = subprocess.call([*runner, *what, *for_pytest], cwd=ROOT, env=env)
    if code:
        failures.append(f"{name}: pytest ended with {code}")
    by_backend = {backend: read_counts(report, backend) for backend in environment.backends if backend in STAND_INS}
    return {**read_counts(report), "by_backend": by_backend, "seconds": time.monotonic() - started}


def coverage_file(name: str) -> Path:
    """Return the path of an environment's coverage data."""
    return ENVS / f"{name}.coverage"


def read_counts(report: Path, backend: str = "") -> dict:
    """Read the counts of pytest's report, of all tests or of a backend's; a missing report counts as a failure."""
    if not report.exists():
        return {"passed": 0, "failed": 1, "skipped": 0}
    suite = ElementTree.parse(report).getroot().find("testsuite")
    if backend:
        cases = [case for case in suite.iter("testcase") if backend in re.split(r"[\[\]-]", case.get("name"))]
        failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
        skipped = sum(case.find("skipped") is not None for case in cases)
        return {"passed": len(cases) - failed - skipped, "failed": failed, "skipped": skipped}
    total, failed, errors, skipped = (int(suite.get(k)) for k in ("tests", "failures", "errors", "skipped"))
    return {"passed": total - failed - errors - skipped, "failed": failed + errors, "skipped": skipped}


def print_grid(names: list[str], results: dict[str, dict]) -> None:
    """Print a line for each environment, backend and device, and the counts of its tests.

    results : name -> the result of `look`; with the counts of `read_counts` and `seconds` if tests ran; `said` maps
        "torch" or "torch:cuda" to the text to print instead of "run"
    """
    title("backend x device x version")
    line = "{:14} {:7} {:13} {:14} {:5} {}"
    print(line.format("environment", "python", "backend", "version", "on", ""))
    for name in names:
        result = results.get(name)
        for backend in ENVIRONMENTS[name].backends:
            if result is None:
                print(line.format(name, "", backend, "", "", "DID NOT RUN"))
                continue
            info, told = result["found"][backend], result.get("said", {})
            if backend in STAND_INS:
                counts = result.get("by_backend", {}).get(backend, {})
                said = ", ".join([f"{n} {what}" for what, n in counts.items()] or ["DID NOT RUN"])
                print(line.format(name, result["python"], backend, info["version"], "cpu", said))
                continue
            for device in ("cpu", "cuda"):
                place = backend if device == "cpu" else f"{backend}:cuda"
                if place in told:
                    said = told[place]
                elif info["problem"]:
                    said = f"REQUIRED BUT MISSING: {info['problem'].splitlines()[0]}"
                elif place in result["asked"]:
                    said = "run"
                elif backend == "numpy":
                    said = "absent: NumPy does not use CUDA"
                else:
                    said = f"absent: {backend} finds no CUDA device that it supports"
                print(line.format(name, result["python"], backend, info["version"] or "", device, said))
        if result is not None and "passed" in result:
            print(f"{name:14} {result['passed']} passed, {result['failed']} failed, {result['skipped']} skipped "
                  f"in {result['seconds']:.0f} s")  # fmt: skip
