"""A COCO file in pieces: what json makes of the whole file, on valid, odd and broken ones; with orjson and without."""

import json
import os

import numpy as np
import pytest

from anchorlib.datasets import read_boxes
from anchorlib.datasets.formats import coco, json_stream
from anchorlib.errors import DatasetError

PARSERS = [
    pytest.param(
        True, id="orjson", marks=pytest.mark.skipif(json_stream.orjson is None, reason="without the extra fast")
    ),
    pytest.param(False, id="json"),
]


@pytest.fixture(params=PARSERS)
def _parser(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(json_stream, "orjson", None)


@pytest.fixture(params=[16, 200, 3000])
def _block(request, monkeypatch):
    monkeypatch.setattr(json_stream, "PIECE_BYTES", request.param)


def outcome(path):
    """Everything that read_boxes makes of a file, as text."""
    try:
        sizes = read_boxes(path)
    except DatasetError as error:
        return f"{type(error).__name__}: {error}"
    arrays = [getattr(sizes, name).tobytes().hex() for name in ("wh", "image_wh", "image_index", "classes")]
    rest = (sizes.class_names, sizes.image_names, sizes.rows_read, sizes.rows_refused, sizes.problems)
    return repr((arrays, rest))


def whole(path):
    """The same by json of the whole file at once."""

    def refuse(path, progress):
        raise json_stream.NotInPiecesError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco, "_in_pieces", refuse)
        return outcome(path)


def in_pieces_only(path):
    """The same, and an error if the file is not read in pieces."""

    def refuse(path, problems):
        raise AssertionError("read whole")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco, "_whole", refuse)
        return outcome(path)


IMAGES = (
    '"images": [{"id": 1, "width": 100, "height": 50, "file_name": "a}, {]"}, {"height": 40, "id": 2, "width": 30}]'
)
ANNOTATION = (
    '{"segmentation": [[1, 2, 3.5, 4]], "image_id": 1, "category_id": 7, "bbox": [1, 2, 30.5, 4], "iscrowd": 0}'
)
CATEGORIES = '"categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}]'
ODD_VALUES = [
    "0", "-0", "-0.0", "1e999", "-1e400", "NaN", "Infinity", "-Infinity", "1E+2", "0.1e-999", "true", "null", "1.0",
    "9" * 19, "9" * 20, "-9223372036854775809", "18446744073709551616", "9" * 400, "9" * 5000, "0." + "1" * 30,
    '"1"', '"7"', '"é"', r'"\ud83d\ude00"', r'"\ud800"', '"}, {"', '"]}"', r'"\"}, {\""', r'"\\"', r'"\u0000"',
    "[]", "{}", '{"a": [{"b": 1}, {"b": 2}], "bbox": [1]}', "[{}, {}, {}]", "[" * 60 + "{}" + "]" * 60,
    "[1, 1, 2, 2]", "[1, 1, 2]", "[1.5, 1, 2, 99999999999999999999]", "[true, 1, 2, 2]", "[1, 1, 1e308, 1e308]",
    '{"counts": [1, 2], "size": [4, 5]}', "[NaN, 1, 2, 2]", "[-0.0, -0, -0, 3]",
]  # fmt: skip
KEYS = ["image_id", "category_id", "bbox", "iscrowd", "ignore", "id", "images", "annotations", "segmentation"]
TROUBLE = [b",", b"]", b"}", b"{", b'"', b"[", b"}, {", b"\\", b"\x0b", b"\0", b"\xff", b"\xed\xa0\x80", b"\xc3\xa9"]


def any_coco(rng):
    """A text like COCO: odd values, any order, keys twice, lists where they do not belong, spaces of all sorts."""

    def one_of(items):
        return items[rng.integers(len(items))]

    annotations = [ANNOTATION] * int(rng.integers(1, 6))
    for _ in range(rng.integers(4)):
        members = [f'"{one_of(KEYS)}": {one_of(ODD_VALUES)}' for _ in range(rng.integers(4))]
        odd = "{" + ", ".join(['"image_id": 1', '"bbox": [1, 1, 2, 2]', *members]) + "}"
        annotations.insert(int(rng.integers(len(annotations) + 1)), odd)
    comma = one_of([", ", ",", ",\n  ", " ,\r\n\t"])
    parts = [IMAGES, f'"annotations": [{comma.join(annotations)}]', CATEGORIES]
    if rng.random() < 0.2:
        parts[0] = IMAGES.replace("1" if rng.random() < 0.5 else "40", one_of(ODD_VALUES), 1)
    if rng.random() < 0.2:
        parts.append(f'"{one_of(KEYS)}": {one_of(ODD_VALUES)}')
    if rng.random() < 0.1:
        parts.append('"info": {"images": [{"id": 5}], "annotations": []}')
    if rng.random() < 0.1:
        parts.append(one_of(parts))
    if rng.random() < 0.5:
        parts = [parts[k] for k in rng.permutation(len(parts))]
    return one_of([b""] * 9 + [b"\xef\xbb\xbf"]) + ("{" + ", ".join(parts) + "}").encode()


def damaged(data, rng):
    data = bytearray(data)
    at, to = sorted(map(int, rng.integers(0, len(data), 2)))
    kind = rng.integers(5)
    if kind == 0:
        data[at] = int(rng.integers(256))
    elif kind == 1:
        del data[at : min(to, at + 3)]
    elif kind == 2:
        data[at:at] = data[at:to][:60]
    elif kind == 3:
        data[at:at] = TROUBLE[rng.integers(len(TROUBLE))]
    elif rng.random() < 0.2:
        del data[at:]
    return bytes(data)


FILES = int(os.environ.get("ANCHORLIB_FUZZ_FILES", "500"))


@pytest.mark.usefixtures("_parser", "_block")
def test_pieces_give_what_the_whole_file_gives(tmp_path, n_cases):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.json"
    count = {"boxes": 0, "error": 0}
    for number in range(n_cases(FILES)):
        data = any_coco(rng)
        path.write_bytes(damaged(data, rng) if number % 2 else data)
        found = outcome(path)
        assert found == whole(path), path.read_bytes()
        count["error" if found.startswith("DatasetError") else "boxes"] += 1
    assert min(count.values()) > n_cases(FILES) / 20


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize("block", [10, 100, 1000, json_stream.PIECE_BYTES])
@pytest.mark.parametrize("comma", [", ", ",", ",\n   "])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_what_tools_write_is_read_in_pieces(tmp_path, monkeypatch, block, comma, order):
    odd = [("30.5", "NaN"), ("4]]", "9" * 30 + "]]"), ("{", '{"note": "né", ')]
    annotations = comma.join([ANNOTATION, *(ANNOTATION.replace(before, after) for before, after in odd)])
    parts = [IMAGES, f'"annotations": [{annotations}]', CATEGORIES]
    (tmp_path / "a.json").write_text("{" + ",".join(parts[k] for k in order) + "}")
    monkeypatch.setattr(json_stream, "PIECE_BYTES", block)
    found = in_pieces_only(tmp_path / "a.json")
    assert "not a number" in found
    assert found == whole(tmp_path / "a.json")


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize(
    "text",
    [
        f'{{{IMAGES}, "annotations": [], {CATEGORIES}}}',  # an empty list
        f'{{{IMAGES}, "annotations": [ \n], {CATEGORIES}}}',
        f'{{"info": {{"annotations": [{ANNOTATION}]}}, {IMAGES}, "annotations": []}}',  # one that is not the file's
        f'{{{IMAGES}, "annotations": [{ANNOTATION}], "annotations": []}}',  # the last of two counts
        f'{{{IMAGES}, "info": "\\"annotations\\": [", "annotations": [{ANNOTATION}]}}',  # in a string
        f'{{{IMAGES}, "annotations": [{ANNOTATION}, 3, null, [], {ANNOTATION}]}}',
        f'{{{IMAGES}, "annotations": [{ANNOTATION},\v{ANNOTATION}]}}',  # no white space of JSON
        f'{{{IMAGES}, "annotations": [{ANNOTATION}, ]}}',
        f'{{{IMAGES}, "annotations": [{ANNOTATION}]}} {{}}',
        f'{{{IMAGES}, "annotations": [{ANNOTATION}]',
        f'{{{IMAGES}, "annotations": {{"annotations": [{ANNOTATION}]}}}}',
        "[" * 100_000,
        '{"images": [' + "[" * 100_000,
    ],
)
def test_odd_and_broken_files_by_hand(tmp_path, monkeypatch, text):
    (tmp_path / "a.json").write_text(text)
    for block in (20, json_stream.PIECE_BYTES):
        monkeypatch.setattr(json_stream, "PIECE_BYTES", block)
        assert outcome(tmp_path / "a.json") == whole(tmp_path / "a.json")


@pytest.mark.usefixtures("_parser")
def test_an_element_larger_than_a_block_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "PIECE_BYTES", 64)
    large = ANNOTATION.replace("4]]", json.dumps(list(range(3000))) + "]]")
    (tmp_path / "a.json").write_text(f'{{{IMAGES}, "annotations": [{large}, {ANNOTATION}, {large}], {CATEGORIES}}}')
    assert in_pieces_only(tmp_path / "a.json") == whole(tmp_path / "a.json")
    monkeypatch.setattr(json_stream, "LARGEST", 1000)
    with pytest.raises(AssertionError, match="read whole"):
        in_pieces_only(tmp_path / "a.json")
    assert "4]]" not in large
    assert outcome(tmp_path / "a.json") == whole(tmp_path / "a.json")
