"""The imports of the package, read from its source: which module imports which, and the same for its parts.

A part is a module or a folder directly under `anchorlib/`. `python tests/helpers/imports.py` writes the table
into docs/architecture.md.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- imports: begin -->", "<!-- imports: end -->"


def module_files(root: Path = ROOT) -> dict[str, Path]:
    """Return the file of each module of the package: {"anchorlib.fitting": .../fitting/__init__.py, ...}."""
    found = {}
    for folder, package in ((root / "anchorlib", "anchorlib"), (root / "backends", "anchorlib.backends")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if package == "anchorlib" and parts[0] == "backends":  # the link to the other folder
                continue
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def imported_names(path: Path, module: str = "", *, at_run_time: bool = False) -> Iterator[str]:
    """Yield the dotted name of everything that a file imports, at its top or in a function.

    module : the file's own dotted name, for relative imports
    at_run_time : leave out what is imported under `if TYPE_CHECKING:`
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    if at_run_time:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= (path.parent.name == "backends"), f"{path}: a relative import that leaves its folder"
            base = ".".join(filter(None, [package if node.level else "", node.module or ""]))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def module_imports(root: Path = ROOT) -> dict[str, set[str]]:
    """Return which modules of the package each module imports when it runs."""
    files = module_files(root)
    graph = {}
    for module, path in files.items():
        names = set(imported_names(path, module, at_run_time=True))
        # `from anchorlib.fitting import direct` names the package only on the way to its module
        inside = {package: {name for name in names if name.rpartition(".")[0] == package} for package in names}
        on_the_way = {package for package, of_it in inside.items() if of_it and of_it <= set(files)}
        graph[module] = (names & set(files)) - on_the_way - {module}
    return graph


def part_of(module: str) -> str:
    """Return the part that a module belongs to; "" for the package's own `__init__`."""
    return ".".join(module.split(".")[1:2])


def part_imports(root: Path = ROOT) -> dict[str, set[str]]:
    """Return which parts each part imports. The package's own `__init__`, which imports most of them, is left out."""
    graph: dict[str, set[str]] = {}
    for module, names in module_imports(root).items():
        if part := part_of(module):
            graph.setdefault(part, set()).update(part_of(name) for name in names)
    return {part: names - {part} for part, names in graph.items()}


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the nodes of one circle, in order; an empty list if there is none."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return path[path.index(node) :]
        if node not in done:
            for following in sorted(graph.get(node, ())):
                if circle := visit(following, [*path, node]):
                    return circle
            done.add(node)
        return []

    return next(filter(None, (visit(node, []) for node in sorted(graph))), [])


def import_table(root: Path = ROOT) -> str:
    """Return the table of docs/architecture.md: each part and the parts that it imports, in Markdown."""
    rows = [f"| {part} | {', '.join(sorted(names)) or '-'} |" for part, names in sorted(part_imports(root).items())]
    return "\n".join(["| part | imports |", "|---|---|", *rows])


def with_table(page: str, root: Path = ROOT) -> str:
    """Return the text of docs/architecture.md with today's table between its two marker comments."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{import_table(root)}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
