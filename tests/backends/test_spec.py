"""The core is what the library's own code calls on a namespace: read from the source, not from a list."""

import ast

from helpers.imports import module_files

from anchorlib.backends._spec import CORE, DTYPES, EXTRAS, FRAMEWORKS, NAMES, STANDARD


def called_names(source):
    """Return the names of the spec that a module's code takes from a namespace."""
    tree = ast.parse(source)
    namespaces = {"xp"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and is_namespace(ast.unparse(node.value), namespaces):
            namespaces |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in NAMES and is_namespace(ast.unparse(node.value), namespaces)
    }


def is_namespace(code, namespaces):
    calls = any(f"{name}(" in code for name in ("namespace_of", "load"))
    return code in namespaces or (calls and code.endswith(")")) or code.endswith((".xp", "._xp"))


def test_the_core_is_what_the_algorithms_call():
    called = {"to_device"}  # by the adaptors' own from_numpy
    for module, path in module_files().items():
        of_adaptors = module.startswith("anchorlib.backends._")
        if not of_adaptors and not module.startswith("anchorlib.verify"):  # verify compares all of the standard
            called |= called_names(path.read_text(encoding="utf-8"))
    assert called & set(STANDARD) | set(DTYPES) == CORE
    assert set(EXTRAS) - called == set()


def test_calls_are_found_in_the_source():
    source = "host = namespace_of(x)\nhost.argsort(xp.floor(x))\nself._xp.exp(load('torch').log(np.sum(x)))\nx.max()"
    assert called_names(source) == {"argsort", "floor", "exp", "log"}


def test_a_backend_has_the_core_and_the_extras_and_those_of_the_library_have_all_of_the_standard(backend):
    needed = NAMES if backend.name in ("numpy", "torch", "oneflow") else CORE | set(EXTRAS)
    assert sorted(name for name in needed if not hasattr(backend.xp, name)) == []
    assert FRAMEWORKS[backend.name].has_gradient == hasattr(backend.array([1.0]), "requires_grad")
