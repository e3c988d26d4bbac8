"""Run the examples of docs/examples: each learns its synthetic images in under a minute of one CPU."""

import importlib
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "docs/examples"


@pytest.fixture
def timed_main(monkeypatch):
    """Return a function that runs the main function of an example, which must take under a minute of the CPU."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def run(name):
        start = time.process_time()
        result = importlib.import_module(name).main()
        assert time.process_time() - start < 60
        return result

    return run


@pytest.mark.needs("torch")
def test_the_detector_from_scratch_finds_the_objects(timed_main):
    precision, recall = timed_main("from_scratch")
    assert precision > 0.7
    assert recall > 0.9


@pytest.mark.needs("torch")
def test_the_detector_with_masks_from_scratch_gives_the_masks(timed_main):
    assert timed_main("from_scratch_masks") > 0.7


def test_every_example_is_run_and_is_on_a_page():
    page = (EXAMPLES.parent / "guide-scratch.md").read_text(encoding="utf-8")
    names = sorted(path.stem for path in EXAMPLES.glob("*.py"))
    assert names == ["from_scratch", "from_scratch_masks"]
    for name in names:
        assert f"examples/{name}.py" in page
