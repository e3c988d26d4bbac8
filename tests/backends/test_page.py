"""docs/backends.md says what backends/_spec.py declares."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_page_of_the_backends_is_not_stale():
    location = ROOT / "ci" / "backends_page.py"
    module = importlib.util.spec_from_file_location("backends_page", location)
    backends_page = importlib.util.module_from_spec(module)
    module.loader.exec_module(backends_page)
    assert backends_page.PAGE.read_text(encoding="utf-8") == backends_page.page(), "run python ci/backends_page.py"
