"""What SECURITY.md promises, read from the code: no file or string is run, no command, no connection."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: Modules that run what a file says, start processes, open connections, or reach around Python.
FORBIDDEN_MODULES = {
    "pickle", "_pickle", "cPickle", "pickletools", "marshal", "shelve", "dill", "cloudpickle", "joblib", "copyreg",
    "subprocess", "multiprocessing", "pty", "code", "codeop", "runpy",
    "socket", "ssl", "urllib", "http", "ftplib", "smtplib", "xmlrpc", "asyncio", "requests", "httpx", "aiohttp",
    "urllib3", "webbrowser", "ctypes", "cffi",
}  # fmt: skip
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
FORBIDDEN_OF_OS = {"system", "popen", "startfile", "posix_spawn", "fork", "forkpty"}
FORBIDDEN_OF_MODULES = {  # what these modules have that reads pickles, or YAML that makes objects
    ("yaml", "unsafe_load"), ("yaml", "full_load"), ("yaml", "UnsafeLoader"), ("yaml", "FullLoader"),
    ("yaml", "Loader"), ("torch", "load"), ("flow", "load"), ("oneflow", "load"),
}  # fmt: skip

#: (file, what) -> why it may be there
ALLOWED = {
    ("backends/_oneflow_import.py", "ctypes"): "preloads the cuDNN and cuBLAS that OneFlow links without shipping them",
}


def sources():
    return sorted([*(ROOT / "anchorlib").rglob("*.py"), *(ROOT / "backends").rglob("*.py")])


def findings(tree):
    """Everything in a file that the lists above name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield (node.module or "").split(".")[0]
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
                if node.func.id == "import_module":
                    yield from argument_of(node)
            elif isinstance(node.func, ast.Attribute) and node.func.attr == "import_module":
                yield from argument_of(node)
            for keyword in node.keywords:
                if keyword.arg in ("shell", "allow_pickle") and getattr(keyword.value, "value", True) is not False:
                    yield f"{keyword.arg}="


def argument_of(call):
    return [str(one.value).split(".")[0] for one in call.args[:1] if isinstance(one, ast.Constant)]


def is_forbidden(found):
    module, _, name = found.partition(".")
    return (
        found in FORBIDDEN_MODULES | FORBIDDEN_CALLS | {"shell=", "allow_pickle="}
        or (module == "os" and (name in FORBIDDEN_OF_OS or name.startswith(("exec", "spawn"))))
        or (module, name) in FORBIDDEN_OF_MODULES
    )


def forbidden_in(text):
    return {found for found in findings(ast.parse(text)) if is_forbidden(found)}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_a_file_or_a_command_or_reaches_the_network(path):
    name = path.relative_to(ROOT).as_posix()
    allowed = {what for file, what in ALLOWED if file == name}
    assert forbidden_in(path.read_text(encoding="utf-8")) == allowed


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from pickle import loads", "import urllib.request", "def f():\n    import socket",
        "eval('1')", "exec(text)", "import os\nos.system('ls')", "from os import system", "os.execv('a', [])",
        "run('ls', shell=True)", "run('ls', shell=flag)", "np.load(path, allow_pickle=True)", "yaml.unsafe_load(text)",
        "import_module('pickle')", "importlib.import_module('http.client')", "torch.load(path)",
        "from torch import load",
    ],
)  # fmt: skip
def test_the_check_sees_each_of_these(text):
    assert forbidden_in(text)


def test_the_check_reads_the_whole_package():
    names = {path.relative_to(ROOT).as_posix() for path in sources()}
    assert {"anchorlib/metrics.py", "anchorlib/cli/fit.py", "backends/_torch.py"} <= names
    assert not any(name.startswith("anchorlib/backends") for name in names)  # a link to backends/


def test_the_tests_that_the_promises_name_are_there():
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    for path, name in named:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert f"def {name}(" in text if name else "def test_" in text, (path, name)
