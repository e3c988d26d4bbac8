"""Every example in a docstring runs, and every public function has one."""

import ast
import doctest
import importlib
import inspect
import os
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import anchorlib
from anchorlib import backends, boxes, yolov2, yolov5

ROOT = Path(__file__).parent.parent
MODULES = ["anchorlib"] + [
    module.name
    for module in pkgutil.walk_packages(anchorlib.__path__, "anchorlib.")
    if not module.name.startswith("anchorlib.backends._")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_print_what_they_say(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    module = importlib.import_module(name)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, _ = doctest.testmod(module, extraglobs={"np": np}, optionflags=flags)
    assert failed == 0


@pytest.mark.parametrize("name", [n for n in anchorlib.__all__ if callable(getattr(anchorlib, n))])
def test_a_public_name_says_what_it_takes_and_shows_it(name):
    thing = getattr(anchorlib, name)
    text = inspect.getdoc(thing)
    if inspect.isclass(thing):
        assert " : " in text
    else:
        assert all(part in text for part in ("Parameters", "Returns", "Raises", ">>> "))


def public_names():
    for module in (yolov5, yolov2, boxes, backends):
        here = [name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__]
        for name in getattr(module, "__all__", [name for name in here if not name.startswith("_")]):
            if callable(getattr(module, name)) and not str(getattr(module, name)).endswith("Error'>"):
                yield pytest.param(module, name, id=f"{module.__name__}.{name}")


@pytest.mark.parametrize(("module", "name"), list(public_names()))
def test_a_name_of_a_public_module_says_what_it_is_and_a_function_shows_it(module, name):
    thing = getattr(module, name)
    text = inspect.getdoc(thing)
    if inspect.isclass(thing):
        assert " : " in text or ">>> " in text
    else:
        needs_a_model = (module, name) == (yolov5, "build_targets")  # which an example would have to make first
        assert (" : " if needs_a_model else ">>> ") in text


def short_docstrings(source):
    """Return the line and name of each public class and function whose docstring has fewer than five words."""
    found, todo = [], [ast.parse(source)]
    while todo:
        for node in ast.iter_child_nodes(todo.pop()):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not re.match("_[^_]", node.name):
                text = ast.get_docstring(node)
                found += [f"{node.lineno}: {node.name}"] if text is not None and len(text.split()) < 5 else []
                todo.append(node)
    return found


@pytest.mark.parametrize("folder", ["anchorlib", "backends"])
def test_a_public_docstring_is_a_sentence(folder):
    files = [path for path in (ROOT / folder).rglob("*.py") if "anchorlib/backends" not in path.as_posix()]
    assert files
    short = {path.relative_to(ROOT).as_posix(): short_docstrings(path.read_text(encoding="utf-8")) for path in files}
    assert not {name: lines for name, lines in short.items() if lines}


def test_a_short_docstring_is_found_and_a_private_one_is_not():
    source = 'class A:\n  """Its options."""\n  def _b(self):\n    """Yes."""\n  def c(self):\n    \'No.\''
    assert short_docstrings(source) == ["1: A", "5: c"]


def test_the_examples_of_the_backends_print_what_they_say():
    assert doctest.testmod(backends, extraglobs={"np": np}).failed == 0
    assert os.path.exists(ROOT / "tests/data/bccd")
