"""Check which part may import which: the table below, read from the imports, and what an import may load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import imports
from helpers.imports import find_circle, imported_names, module_imports, part_imports

ROOT = Path(__file__).parent.parent
FRAMEWORKS = ("torch", "oneflow")

#: part -> the parts of anchorlib that it may import; the root names and those of FREE are free to all.
MAY_IMPORT = {
    "__main__": {"cli"},
    "_public": {"backends", "boxes", "datasets", "fitting", "metrics", "training"},
    "_version": set(),
    "atomic": set(),
    "arrays": {"backends", "errors"},
    "errors": {"backends"},
    "files": set(),
    "safe_yaml": set(),
    "layers": set(),
    "markup": set(),
    "models": set(),
    "results": set(),
    "boxes": {"backends"},
    "size_histogram": set(),
    "metrics": {"backends", "boxes"},
    "fitting": {"backends", "metrics", "boxes", "size_histogram", "modelfiles", "training"},
    "training": {"backends", "boxes"},
    "yolov2": {"backends", "boxes", "training"},
    "datasets": {"size_histogram"},
    "modelfiles": set(),
    "scale": {"datasets", "fitting"},
    "reporting": {"metrics", "datasets", "fitting", "modelfiles"},
    "yolov5": {"backends", "fitting", "training", "datasets", "modelfiles", "metrics", "boxes"},
    "yolov7": {"backends", "training"},
    "verify": {
        "backends",
        "fitting",
        "training",
        "datasets",
        "metrics",
        "boxes",
        "yolov2",
        "yolov5",
        "yolov7",
    },
    "cli": {
        "backends",
        "fitting",
        "datasets",
        "modelfiles",
        "reporting",
        "metrics",
        "training",
        "verify",
    },
}
FREE = {"arrays", "atomic", "errors", "files", "layers", "markup", "models", "results", "_version", "safe_yaml"}
NAMES = {"__version__"}


def sources():
    for path in sorted((ROOT / "anchorlib").rglob("*.py")):
        relative = path.relative_to(ROOT / "anchorlib")
        if relative.parts[0] != "backends" and str(relative) != "__init__.py":
            yield relative


def part_of(relative):
    return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize("relative", list(sources()), ids=str)
def test_a_part_imports_only_what_it_may_know(relative):
    part = part_of(relative)
    assert part in MAY_IMPORT, f"{part} is new: say in MAY_IMPORT whom it may know"
    known = {
        name.split(".")[1] for name in imported_names(ROOT / "anchorlib" / relative) if name.startswith("anchorlib.")
    }
    assert known - {part} - FREE - NAMES <= MAY_IMPORT[part]


def test_every_right_to_import_is_used():
    used = part_imports()
    assert {part: rights - used[part] for part, rights in MAY_IMPORT.items() if rights - used[part]} == {}


def test_the_page_on_the_architecture_has_the_imports_of_today():
    page = imports.PAGE.read_text(encoding="utf-8")
    assert page == imports.with_table(page), "run python tests/helpers/imports.py"


def test_the_page_is_stale_if_an_import_is_missing(tmp_path):
    (tmp_path / "anchorlib").mkdir()
    (tmp_path / "anchorlib" / "a.py").write_text("from anchorlib.b import f", encoding="utf-8")
    (tmp_path / "anchorlib" / "b.py").write_text("", encoding="utf-8")
    assert "| a | b |" in imports.import_table(tmp_path)
    page = imports.with_table(f"before\n{imports.BEGIN}\n{imports.END}\nafter\n")
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert imports.with_table(page) == page != imports.with_table(page, tmp_path)


def test_nothing_imports_from_the_root_of_the_package_which_imports_everything():
    for relative in sources():
        if str(relative) != "__main__.py":
            assert "anchorlib" not in set(imported_names(ROOT / "anchorlib" / relative)), f"{relative}: import by name"


def test_no_imports_run_in_a_circle():
    assert find_circle(module_imports()) == []
    assert find_circle(part_imports()) == []


@pytest.mark.parametrize(
    ("files", "modules", "parts"),
    [
        ({"a.py": "from anchorlib.b import f", "b.py": "def f():\n    import anchorlib.a"}, ["a", "b"], ["a", "b"]),
        ({"a/x.py": "from anchorlib.b import f", "a/y.py": "", "b.py": "from anchorlib.a import y"}, [], ["a", "b"]),
        ({"a/__init__.py": "from anchorlib.a import x", "a/x.py": "from anchorlib.a import x"}, [], []),
        ({"a/__init__.py": "from anchorlib.a.x import f", "a/x.py": "from anchorlib.a import g"}, ["a", "a.x"], []),
        ({"a.py": "import anchorlib.b", "b.py": "if TYPE_CHECKING:\n    from anchorlib.a import T"}, [], []),
    ],
    ids=["in a function", "parts only", "a folder and its module", "modules of one part", "types only"],
)
def test_a_planted_circle_is_found(tmp_path, files, modules, parts):
    for name, text in {"__init__.py": "", **files}.items():
        path = tmp_path / "anchorlib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.parent.name != "anchorlib" and not (path.parent / "__init__.py").exists():
            (path.parent / "__init__.py").write_text("", encoding="utf-8")
    assert sorted(find_circle(module_imports(tmp_path))) == [f"anchorlib.{module}" for module in modules]
    assert sorted(find_circle(part_imports(tmp_path))) == parts


@pytest.mark.parametrize("relative", list(sources()), ids=str)
def test_no_framework_is_named_in_code_outside_the_adaptors(relative):
    tree = ast.parse((ROOT / "anchorlib" / relative).read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {name.split(".")[0] for name in imported_names(ROOT / "anchorlib" / relative)}
    assert not names & set(FRAMEWORKS)


def test_matplotlib_is_imported_by_matplotlib_plots_only_and_only_where_it_draws():
    for relative in sources():
        tree = ast.parse((ROOT / "anchorlib" / relative).read_text(encoding="utf-8"))
        roots = {name.split(".")[0] for name in imported_names(ROOT / "anchorlib" / relative)}
        at_the_top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert "matplotlib" not in roots or relative.name == "matplotlib_plots.py", relative
        assert not [node for node in at_the_top if re.match(r"(import|from) matplotlib\b", ast.unparse(node))], relative


@pytest.mark.parametrize("path", sorted((ROOT / "backends").glob("*.py")), ids=lambda path: path.name)
def test_backends_know_nothing_of_anchorlib(path):
    assert not [name for name in imported_names(path) if name.split(".")[0] == "anchorlib"]


def test_the_ways_to_fit_do_not_know_each_other():
    for path in (ROOT / "anchorlib" / "fitting").glob("*.py"):
        if path.stem in ("evolve", "direct", "kmeans"):
            others = {f"anchorlib.fitting.{other}" for other in {"evolve", "direct", "kmeans"} - {path.stem}}
            assert not {name for name in imported_names(path) if name.startswith("anchorlib.fitting")} & others


def test_only_the_command_line_prints():
    for relative in sources():
        tree = ast.parse((ROOT / "anchorlib" / relative).read_text(encoding="utf-8"))
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "print"]
        streams = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in ("stdout", "__stdout__")]
        assert not calls + streams or part_of(relative) in ("cli", "verify", "__main__"), relative


def loaded_by(statement):
    code = f"import sys; {statement}; print(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return {name.split(".")[0] for name in result.stdout.split()}


@pytest.mark.parametrize(
    "statement",
    [
        "import anchorlib; anchorlib.fit_anchors",
        "import anchorlib.backends",
        "import anchorlib.yolov5",
        "import anchorlib.cli",
        "import anchorlib.scale; anchorlib.scale.sizes_from_shards(['tests/data/bccd'])",
    ],
)
def test_an_import_loads_no_framework(statement):
    assert not loaded_by(statement) & {"torch", "oneflow", "matplotlib", "dask", "distributed"}


def test_the_package_on_disk_is_the_one_that_is_listed():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = set(re.findall(r'"(anchorlib[.\w]*)",', text.split("packages = [")[1].split("]")[0]))
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "anchorlib").rglob("__init__.py")}
    assert listed == there | {"anchorlib.backends"}
