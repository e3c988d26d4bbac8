"""Find which frameworks a fork's code imports, so that it is not run on those that it does not know."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Optional

from anchorlib.backends import FRAMEWORKS


def find_frameworks(module: ModuleType, folder: str) -> tuple[str, ...]:
    """Return the backends whose frameworks are imported by a module, or else by the modules that it imports.

    Only modules of its own package and of `folder` are read. The nearest module that imports a framework decides.
    Returns all backends if none does: then the code may run on arrays of any framework.

    >>> import numpy as np, anchorlib.boxes
    >>> find_frameworks(anchorlib.boxes, "/") == tuple(FRAMEWORKS)
    True
    """
    # Not NumPy, which every fork imports next to its framework.
    roots = {framework.module: name for name, framework in FRAMEWORKS.items() if framework.has_gradient}
    seen, level = {module.__name__}, [module.__name__]
    while level:
        imported = [name for part in level for name in _imports_of(part, module.__name__, folder)]
        found = {roots[root] for root in (name.partition(".")[0] for name in imported) if root in roots}
        if found:
            return tuple(name for name in FRAMEWORKS if name in found)
        level = [name for name in dict.fromkeys(imported) if name not in seen]
        seen.update(level)
    return tuple(FRAMEWORKS)


def _imports_of(name: str, first: str, folder: str) -> Iterator[str]:
    """Yield the full names of what a module imports, also inside its functions, if it is of the fork."""
    path = _source_of(name)
    if path is None:
        return
    in_folder = os.path.realpath(path).startswith(os.path.join(os.path.realpath(folder), ""))
    if not in_folder and name.partition(".")[0] != first.partition(".")[0]:
        return
    with open(path, "rb") as file:
        tree = ast.parse(file.read())
    package = name if os.path.basename(path) == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else ""
            base = base or str(node.module)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)  # a name may be a module


def _source_of(name: str) -> Optional[str]:
    """Return the source file of a module that is imported, or None."""
    path = getattr(sys.modules.get(name), "__file__", None)
    return path if path and path.endswith(".py") else None
