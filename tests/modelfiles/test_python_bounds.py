"""Python text that exhausts the stack of Python's own parser is refused before it is parsed; configs are read."""

import contextlib
import subprocess
import sys

import pytest
from helpers.model_file_layouts import example
from helpers.mutate import limit

from anchorlib.errors import ModelError
from anchorlib.modelfiles import format_anchors, read_anchors
from anchorlib.modelfiles.formats.python_bounds import check_python

GOOD = format_anchors(example(3, 3), "mmdet")
N = 200_000
DEEP = {
    "terms": "a = " + "1+" * N + "1",
    "powers": "a = " + "1**" * N + "1",
    "minus signs": "a = " + "-" * N + "1",
    "not": "a = " + "not " * (N // 4) + "1",
    "attributes": "a = b" + ".c" * (N // 2),
    "calls": "a = f" + "()" * (N // 2),
    "calls with arguments": "a = f" + "(1, 2)" * (N // 6),
    "subscripts": "a = f" + "[0]" * (N // 3),
    "lambdas": "a = " + "lambda: " * (N // 8) + "1",
    "lambdas with arguments": "a = " + "lambda x, y: " * (N // 13) + "1",
    "conditions": "a = " + "1 if 2 else " * (N // 12) + "3",
    "elif": "if 1: pass\n" + "elif 1: pass\n" * (N // 13),
    "in brackets": "a = [" + "1+" * (N // 2) + "1]",
    "after a comma": "a = 1, " + "1+" * N + "1",
    "inside a format string": "a = f'{" + "1+" * (N // 2) + "1}'",
    "comprehensions": "a = [1 " + "for a in b " * (N // 11) + "]",
    "brackets": "a = " + "[" * N,
    "too long": "# " + "x" * 2**18,
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_text_is_refused_by_name_and_does_not_end_the_process(tmp_path, kind):
    path = tmp_path / "config.py"
    path.write_text(GOOD + DEEP[kind] + "\n")
    with pytest.raises(ModelError, match=r"config\.py is not a mmdet file with anchors: "):
        read_anchors(path)


def test_the_reader_survives_them_in_a_process_of_its_own(tmp_path):
    """Python 3.9 and 3.10 end with a segmentation fault if such a text reaches ast.parse."""
    path = tmp_path / "config.py"
    for text in ("terms", "minus signs", "attributes", "elif"):
        path.write_text(GOOD + DEEP[text] + "\n")
        code = "import sys; from anchorlib.modelfiles import read_anchors; read_anchors(sys.argv[1])"
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
        assert done.returncode == 1
        assert "ModelError" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "classes = (" + "'name of a class', " * 5000 + ")",
        "a = [" + "dict(type='A', scale=1.0 / 255, ratio=(-1, 1)), " * 2000 + "]",
        "a = 1 + 2; b = -1\n" * 3000,
        "a = " + "1 and 2 or " * 9000 + "3",
        "a = " + "1+" * 400 + "1",
        "if 1: pass\n" + "elif 2: pass\n" * 400 + "else: pass",
        "a = f'{x.y}'\nb = {**c, 'd': [*e, *f]}\ng = lambda x: x",
    ],
)
def test_long_and_ordinary_texts_are_taken(tmp_path, text):
    path = tmp_path / "config.py"
    path.write_text(GOOD + text + "\n")
    assert [layer.shape for layer in read_anchors(path)] == [(3, 2)] * 3


@pytest.mark.parametrize("text", ["a = (", "a = '''", "  a\n b", "a = $", ")" * 3, "\0", "a = 'b\0c'\n"])
def test_text_that_is_not_python_is_a_syntax_error_or_is_left_to_the_parser(tmp_path, text):
    with contextlib.suppress(SyntaxError):
        check_python(text)
    path = tmp_path / "config.py"
    path.write_text(GOOD + text)
    with pytest.raises(ModelError, match="is not a mmdet file"):
        read_anchors(path)


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".cfg", ".py"])
def test_a_model_file_of_another_size_is_refused_before_it_is_parsed(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text("anchors = " + "9" * 2**20)
    with pytest.raises(ModelError, match="more than the limit of 1048576"):
        read_anchors(path)


def test_a_run_of_spaces_before_a_wrong_character_is_refused_in_time(tmp_path):
    """Before Python 3.12 the tokenizer begins again at each space."""
    path = tmp_path / "config.py"
    path.write_text(f"{GOOD}a = 1{' ' * N}$\n")
    with limit(5), pytest.raises(ModelError, match=r"config\.py is not a mmdet file"):
        read_anchors(path)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 100_000, id="lists"),
        pytest.param("{" * 2000, id="dicts"),
        pytest.param('{"a":' * 100_000, id="dicts with keys"),
        pytest.param("[" * 100_000 + "]" * 100_000, id="lists that end"),
        pytest.param("- " * 100_000, id="lists in block style"),
        pytest.param("? " * 9000, id="keys"),
    ],
)
def test_deep_yaml_and_json_are_refused(tmp_path, suffix, text):
    path = tmp_path / f"a{suffix}"
    path.write_text(text)
    with limit(2), pytest.raises(ModelError, match="is not a (yolo|json) file"):
        read_anchors(path)
