import ast
import json
import os
import re
import stat

import numpy as np
import pytest
import yaml
from helpers.model_file_layouts import (
    ALL,
    DARKNET,
    YAML_STYLES,
    YOLOV5,
    darknet_cfg,
    example,
    mmyolo_config,
    paddle_yaml,
    yolo_yaml,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorlib.errors import ModelError
from anchorlib.modelfiles import edit_anchors, open_anchors, read_anchors
from anchorlib.modelfiles.formats import darknet, registry

# the anchors of these tests are closer together than strides are; tests/yolov5/test_order.py tests the warning
pytestmark = pytest.mark.filterwarnings("ignore:.*reverse these layers")

NUMBER = re.compile(r"(?<![\w.])[\d.]+(?![\w.])")


def as_lists(layers):
    return [np.asarray(layer, np.float32).tolist() for layer in layers]


def write(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def other(counts, factor=1.0837):
    """Return anchors that no layout has, smallest first, with many digits."""
    sides = np.float32(3.3) * np.float32(factor) ** np.arange(1, sum(counts) + 1, dtype=np.float32)
    anchors = np.stack([sides, sides * np.float32(1.7)], axis=1)
    ends = np.cumsum(counts)
    return [anchors[end - count : end] for end, count in zip(ends, counts)]


# ---- by hand ------------------------------------------------------------------------------------------------------

BY_HAND = {
    "rows": (
        "m.yaml",
        "anchors:\n  - [10,13, 16,30]  # P3/8\n  - [30,61, 62,45]  # P4/16 \nnc: 2\n",
        [[[1, 2], [3, 4]], [[5, 6], [7.5, 8]]],
        "anchors:\n  - [1,2, 3,4]  # P3/8\n  - [5,6, 7.5,8]  # P4/16 \nnc: 2\n",
    ),
    "rows, one anchor more": (
        "m.yaml",
        "anchors:\n  - [10,13, 16,30]  # P3/8\n  - [30,61, 62,45]\n",
        [[[1, 2], [3, 4], [4, 4]], [[5, 6], [7, 8], [9, 10]]],
        "anchors:\n  - [1,2, 3,4, 4,4]  # P3/8\n  - [5,6, 7,8, 9,10]\n",
    ),
    "blocks, one anchor more and less": (
        "m.yaml",
        "anchors:\n  - - [1, 2]\n    - [3, 4]\n  - [[5, 6]]\n",
        [[[1, 2]], [[50, 60], [70, 80]]],
        "anchors:\n  - - [1, 2]\n  - [[50, 60], [70, 80]]\n",
    ),
    "blocks of one anchor, one more": (
        "m.yaml",
        "anchors:\r\n  - - [1, 2]\r\n  - - [5, 6] # b\r\n",
        [[[1, 2], [3, 4]], [[50, 60], [70, 80]]],
        "anchors:\r\n  - - [1, 2]\r\n    - [3, 4]\r\n  - - [50, 60]\r\n    - [70, 80] # b\r\n",
    ),
    "largest first": (
        "m.yaml",
        "anchors: [[90,90], [9,9]] # reversed head\n",
        [[[1, 2]], [[50, 60]]],
        "anchors: [[50,60], [1,2]] # reversed head\n",
    ),
    "a number": (
        "m.yaml",
        "nc: 2\nanchors: 2  # two\n\nhead: [[[1, 2], 1, Detect, [nc, anchors]]]",
        [[[1, 2], [3, 4]], [[5, 6], [7, 8]]],
        "nc: 2\nanchors:  # two\n  - [1,2, 3,4]\n  - [5,6, 7,8]\n\nhead: [[[1, 2], 1, Detect, [nc, anchors]]]",
    ),
    "a number in the last line": (
        "m.yaml",
        "head: [[[1, 2], 1, Detect, [nc, anchors]]]\r\nanchors: 2",
        [[[1, 2]], [[5, 6]]],
        "head: [[[1, 2], 1, Detect, [nc, anchors]]]\r\nanchors:\r\n  - [1,2]\r\n  - [5,6]",
    ),
    "a number in braces": (
        "m.yaml",
        "{head: [[[1, 2], 1, Detect, [nc, anchors]]], anchors: 2, nc: 3}\n",
        [[[1, 2]], [[5, 6]]],
        "{head: [[[1, 2], 1, Detect, [nc, anchors]]], anchors: [[1,2], [5,6]], nc: 3}\n",
    ),
    "darknet": (
        "m.cfg",
        "[yolo]\nmask = 1\nanchors = 10,13,  30,61\nnum=2\n[yolo]\nmask=0\nanchors = 10,13,  30,61 # all\nnum = 2\n",
        [[[1, 2]], [[5.25, 6]]],
        "[yolo]\nmask = 1\nanchors = 1,2,  5.25,6\nnum=2\n[yolo]\nmask=0\nanchors = 1,2,  5.25,6 # all\nnum = 2\n",
    ),
    "darknet, a mask that shares and one anchor unused": (
        "m.cfg",
        "[yolo]\nmask = 2,3\nanchors = 1,1, 2,2, 3,3, 4,4\nnum=4\n"
        "[yolo]\nmask = 1,2\nanchors=1,1, 2,2, 3,3, 4,4\nnum=4\n",
        [[[5, 5], [6, 6]], [[7, 7], [8, 8]]],
        "[yolo]\nmask = 2,3\nanchors = 5,5, 6,6, 7,7, 8,8\nnum=4\n"
        "[yolo]\nmask = 0,1\nanchors=5,5, 6,6, 7,7, 8,8\nnum=4\n",
    ),
    "darknet, num and anchors follow the masks": (
        "m.cfg",
        "[yolo]\nmask = 1,2\nanchors = 1,1, 2,2, 3,3\nnum=3\n",
        [[[5, 5], [6, 6]]],
        "[yolo]\nmask = 0,1\nanchors = 5,5, 6,6\nnum=2\n",
    ),
    "darknet, sections with lists of their own": (
        "m.cfg",
        "[yolo]\nmask = 0\nanchors = 9,9\nnum=1\n[yolo]\nmask = 1\nanchors=1,1, 2,2\nnum=2\n",
        [[[3, 3]], [[7, 7]]],
        "[yolo]\nmask = 0\nanchors = 7,7,3,3\nnum=2\n[yolo]\nmask = 1\nanchors=7,7, 3,3\nnum=2\n",
    ),
    "region, in cells of 32 px": (
        "m.cfg",
        "[region]\nanchors = 1.5,2, 3,4\nnum=2\n",
        [[[16, 32], [80, 96.32]]],
        "[region]\nanchors = 0.5,1, 2.5,3.01\nnum=2\n",
    ),
    "mmdet": (
        "m.py",
        "a = dict(base_sizes=[[(90, 91), (92, 93)],  # é\n [(1, 2), (3, 4)]], strides=[32, 16])\n",
        [[[1, 2.5], [3, 5]], [[50, 60], [70, 80]]],
        "a = dict(base_sizes=[[(50, 60), (70, 80)],  # é\n [(1, 2.5), (3, 5)]], strides=[32, 16])\n",
    ),
    "mmdet, lines that end with a carriage return": (
        "m.py",
        "a = 1\rb = dict(base_sizes=[[(1, 2)]])\r",
        [[[30, 4]]],
        "a = 1\rb = dict(base_sizes=[[(30, 4)]])\r",
    ),
    "mmyolo": (
        "m.py",
        "x = 'é'; anchors = [[(1, 2)], [(3, 4)]]; y = dict(base_sizes=anchors)\n",
        [[[1, 2.5]], [[30, 40]]],
        "x = 'é'; anchors = [[(1, 2.5)], [(30, 40)]]; y = dict(base_sizes=anchors)\n",
    ),
    "paddle, one more for a layer": (
        "m.yml",
        "Head:\n  anchors: [[1, 2], [3, 4]]\n  anchor_masks: [[1], [0]]\nRate: !Decay 3\n",
        [[[5, 6]], [[7, 8], [9, 10]]],
        "Head:\n  anchors: [[5, 6], [7, 8], [9, 10]]\n  anchor_masks: [[1, 2], [0]]\nRate: !Decay 3\n",
    ),
    "json": (
        "m.json",
        '{"a": {"anchors": 1}, "anchors":[ [[1,2]],[[3.0, 4e0]] ],"z":[]}',
        [[[1, 2]], [[30, 4]]],
        '{"a": {"anchors": 1}, "anchors":[ [[1,2]],[[30, 4e0]] ],"z":[]}',
    ),
    "json, a list": ("m.json", " [[1,2] , [3,4]]\n", [[[5, 6], [7, 8], [9, 10]]], " [[5,6] , [7,8] , [9,10]]\n"),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_an_edit_by_hand(tmp_path, name):
    file, before, layers, after = BY_HAND[name]
    path = write(tmp_path, file, before)
    layers = [np.asarray(layer, np.float32) for layer in layers]
    edit_anchors(path, layers)
    assert path.read_bytes().decode() == after
    assert as_lists(read_anchors(path)) == as_lists(layers)


# ---- every layout -------------------------------------------------------------------------------------------------


def meaning(name, text):
    """Return what other parsers read from the text: the anchors, and everything else."""
    if name.endswith((".yaml", ".yml")):
        loader = type("Loader", (yaml.SafeLoader,), {})
        loader.add_multi_constructor("!", lambda loader, suffix, node: suffix)
        content = yaml.load(text, loader)
        found = []

        def part(value):
            if isinstance(value, dict):
                found.extend((key, value[key]) for key in ("anchors", "anchor_masks") if key in value)
                return {k: part(v) for k, v in value.items() if k not in ("anchors", "anchor_masks")}
            return [part(v) for v in value] if isinstance(value, list) else value

        rest = part(content) if isinstance(content, dict) else "list"
        return found or content, rest
    if name.endswith(".cfg"):
        lines = ["".join(line.split()) for line in text.splitlines()]
        ours = [line for line in lines if line.startswith(("anchors=", "mask=", "num="))]
        return ours, [line for line in lines if line not in ours]
    if name.endswith(".py"):
        dump = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.List, ast.Tuple))]
        return [ast.literal_eval(node) for node in dump if node.elts and isinstance(node.elts[0], ast.List)], None
    content = json.loads(text)
    return content, {k: v for k, v in content.items() if k != "anchors"} if isinstance(content, dict) else None


@pytest.mark.parametrize("name", ALL)
def test_a_round_trip_keeps_everything_except_the_anchors(tmp_path, name):
    file, before = ALL[name]
    path = write(tmp_path, file, before)
    file_before = open_anchors(path)
    layers = other(file_before.counts)
    edit_anchors(path, layers)
    after = path.read_bytes().decode()
    assert as_lists(read_anchors(path)) == as_lists(layers)  # bit-identical
    (anchors_before, rest_before), (anchors_after, rest_after) = meaning(file, before), meaning(file, after)
    assert anchors_before != anchors_after
    assert rest_before == rest_after
    if file_before.layers is not None:
        assert NUMBER.sub("N", before) == NUMBER.sub("N", after)  # the same text, but for numbers
    edit_anchors(path, layers)
    assert path.read_bytes().decode() == after  # a second edit changes nothing


@pytest.mark.parametrize("name", [name for name in YOLOV5 if name.startswith(("v5", "p2", "p34", "p6", "p7"))])
def test_yolov5s_files_are_read_by_layers(tmp_path, name):
    path = write(tmp_path, "m.yaml", YOLOV5[name])
    n_layers = {"p2": 4, "p34": 2, "p6": 4, "p7": 5}.get(name, 4 if name.endswith("6") else 3)
    file = open_anchors(path)
    assert (file.format, file.counts) == ("yolo", [3] * n_layers)
    if name.startswith("v5"):
        assert as_lists(file.layers) == as_lists(example(n_layers, 3))
    else:
        assert file.layers is None
        with pytest.raises(ModelError, match="holds only the number of anchors"):
            read_anchors(path)


@pytest.mark.parametrize("name", DARKNET)
def test_darknets_files_are_read_by_layers_the_smallest_first(tmp_path, name):
    nine, six = example(3, 3), np.concatenate(example(2, 3))
    expected = {
        "v3": nine,
        "v4": nine,
        "gaussian": nine,
        "v3-tiny": [six[:3], six[3:]],
        "v3-tiny, one shared": [six[1:4], six[3:]],
        "v4-tiny": [six[1:4], six[3:]],
        "v4-p6": example(4, 4),
        "one": [six],
        "v2": example(1, 5),
    }[name]
    path = write(tmp_path, "m.cfg", DARKNET[name])
    got = read_anchors(path)
    assert as_lists(got) == as_lists(expected) if name != "v2" else np.allclose(got[0], expected[0], rtol=1e-5)
    assert open_anchors(path).unit == (32 if name == "v2" else 1)


def crlf(data):
    return data.replace(b"\n", b"\r\n")


def with_mark(data):
    return b"\xef\xbb\xbf" + data


def without_end(data):
    return data.rstrip(b"\n")


def with_latin(data):
    return b"# caf\xe9 \x85 \xff\n" + data + b"# \xe9\n"


def with_spaces(data):
    return data.replace(b"\n", b"  \n") + b"\n \n\n"


CHANGES = [crlf, with_mark, without_end, with_latin, with_spaces]


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name in ALL for change in CHANGES if change is not with_latin or "json" not in name],
)
def test_odd_bytes_stay_as_they_are(tmp_path, name, change):
    file, text = ALL[name]
    plain, odd = write(tmp_path, file, text), write(tmp_path, f"odd-{file}", change(text.encode()))
    before = open_anchors(plain)
    layers = other(before.counts)
    edit_anchors(plain, layers)
    edit_anchors(odd, layers)
    got, expected = odd.read_bytes(), change(plain.read_bytes())
    if change is with_spaces and before.layers is None:  # rows that replace a number have no spaces to keep
        got, expected = (re.sub(rb" +\n", b"\n", data) for data in (got, expected))
    assert got == expected


sides = st.floats(0.25, 2000, width=32)


@settings(deadline=None, max_examples=150)
@given(
    old=st.integers(1, 4),
    new=st.integers(1, 4),
    n_layers=st.integers(1, 5),
    style=st.sampled_from(sorted(YAML_STYLES)),
    change=st.sampled_from(CHANGES),
    data=st.data(),
)
def test_any_yaml_has_the_anchors_that_are_written(tmp_path_factory, old, new, n_layers, style, change, data):
    folder = tmp_path_factory.mktemp("any")
    text = change(yolo_yaml(example(n_layers, old), style).encode())
    path = write(folder, "m.yaml", text)
    values = data.draw(st.lists(sides, min_size=n_layers * new * 2, max_size=n_layers * new * 2))
    anchors = np.asarray(values, np.float32).reshape(-1, 2)
    anchors = anchors[np.argsort(anchors.prod(axis=1, dtype=np.float64), kind="stable")]
    layers = list(anchors.reshape(n_layers, new, 2))
    edit_anchors(path, layers)
    loaded = yaml.safe_load(path.read_bytes().decode("utf-8-sig", "replace"))
    assert np.array_equal(np.asarray(loaded.pop("anchors"), np.float32).reshape(n_layers, new, 2), layers)
    was = yaml.safe_load(text.decode("utf-8-sig", "replace"))
    was.pop("anchors")
    assert loaded == was
    assert as_lists(read_anchors(path)) == as_lists(layers)


@settings(deadline=None, max_examples=60)
@given(
    masks=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    order=st.sampled_from([1, -1]),
    unused=st.integers(0, 2),
    equals=st.sampled_from(["=", " = ", "\t=  "]),
    between=st.sampled_from([",", ", ", ",   "]),
)
def test_any_darknet_file_has_the_anchors_that_are_written(tmp_path_factory, masks, order, unused, equals, between):
    ends = np.cumsum(masks) + unused
    numbers = [list(range(end - n, end)) for end, n in zip(ends, masks)][::order]
    before = darknet_cfg(np.concatenate(example(1, sum(masks) + unused)), numbers, equals=equals, between=between)
    path = write(tmp_path_factory.mktemp("any"), "m.cfg", before)
    layers = other(masks)
    edit_anchors(path, layers)
    assert as_lists(read_anchors(path)) == as_lists(layers)
    after = path.read_text()
    assert after.count(f"num{equals}{sum(masks)}\n") == len(masks)
    assert meaning("m.cfg", after)[1] == meaning("m.cfg", before)[1]


# ---- refused edits ------------------------------------------------------------------------------------------------

THREE = yolo_yaml(example(3, 3))
REFUSED = {
    "another number of layers": ("m.yaml", THREE, [3, 3], "has 3 anchor layers, got 2; the number of layers"),
    "uneven layers": ("m.yaml", THREE, [3, 3, 2], r"as many anchors on each layer, got \[3, 3, 2\]"),
    "uneven layers of mmyolo": ("m.py", mmyolo_config(example(2, 2)), [2, 1], "as many anchors on each layer"),
    "a name": ("m.yaml", "anchors: &a [[1,2]]\nb: *a\n", [1], "line 1 has &a in its anchors; write them out first"),
    "an alias": ("m.yaml", "x: &a [1,2]\nanchors:\n - *a\n", [1], r"line 3 has \*a in its anchors"),
    "an alias of all": ("m.yaml", "x: &a [[1,2]]\nanchors: *a\n", [1], "in its anchors"),
    "a tag": ("m.yaml", "anchors: [[!!int 1,2]]\n", [1], "line 1 has !!int in its anchors"),
    "two keys": ("m.yaml", "anchors: [[1,2]]\nb: 1\nanchors: [[1,2]]\n", [1], r"2 keys 'anchors' in one place .line 3"),
    "merged": ("m.yaml", "b: &b {anchors: [[1,2]]}\n<<: *b\n", [1], "there is no list 'anchors'"),
    "a number without a head": ("m.yaml", "anchors: 3\n", [3], "no head that says how many layers"),
    "an Aux head": ("m.yaml", YOLOV5["v7-w6"].replace("anchors:", "anchors: 3\nx:"), [3] * 8, "no head that says"),
    "comments between": ("m.yaml", "anchors:\n - - [1,2] # a\n   - [3,4]\n", [1], "comments between its 2 anchors"),
    "not one document": ("m.yaml", "anchors: [[1,2]]\n---\nb: 1\n", [1], "expected a single document"),
    "another number for a mask": ("m.cfg", DARKNET["v3"], [4, 4, 4], r"the filters= of the layer before it are made"),
    "another number for a region": ("m.cfg", DARKNET["v2"], [4], r"\[region\] of line 12 has 5 anchors"),
    "two lines": ("m.cfg", "[yolo]\nanchors=1,2\nmask=0\nnum=1\nanchors=3,4\n", [1], "two lines 'anchors ='"),
    "a section without a mask": ("m.cfg", "[yolo]\nanchors=1,2\n[yolo]\nanchors=3,4\n", [1, 1], "write mask= first"),
    "no anchors": ("m.cfg", "[yolo]\nmask=0\n[yolo]\nanchors=3,4\nmask=0\n", [1, 1], "no line 'anchors = ...' in"),
    "two kinds": ("m.cfg", "[yolo]\nanchors=1,2\n[region]\nanchors=3,4\n", [1, 1], "in pixels and in cells"),
    "two lists": ("m.py", "a = f(base_sizes=[[(1, 2)]])\nb = f(base_sizes=[[(1, 3)]])\n", [1], "are not the same"),
    "names": ("m.py", "a = 3\nb = f(base_sizes=[[(a, 2)]])\n", [1], "line 2: anchors must be pairs of numbers"),
    "not in layers": ("m.py", "b = f(base_sizes=[1, 2])\n", [1], "anchors must be lists of pairs"),
    "head and reader apart": ("m.yml", paddle_yaml(example(2, 3), twice=True).replace("[4, 6]", "[5, 6]", 1), [3, 3],
                              "2 lists of anchors are not the same"),
    "two keys of json": ("m.json", '{"anchors": [[1, 2]], "anchors": [[1, 2]]}', [1], "2 keys 'anchors'"),
    "a null": ("m.json", '{"anchors": [[1, null]]}', [1], "pairs of numbers, got 'null'"),
    "none": ("m.json", '{"nc": 3}', [1], "there is no list 'anchors'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_edited_safely_is_not_changed(tmp_path, name):
    file, text, counts, message = REFUSED[name]
    path = write(tmp_path, file, text)
    with pytest.raises(ModelError, match=message) as error:
        edit_anchors(path, other(counts))
    assert str(path) in str(error.value)
    assert path.read_text() == text
    assert os.listdir(tmp_path) == [file]


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_counts_are_refused_before_there_are_anchors(tmp_path, name):
    """Check what a fit asks before it starts: the counts are refused with the same words as the edit."""
    file, text, counts, message = REFUSED[name]
    path = write(tmp_path, file, text)
    with pytest.raises(ModelError, match=message) as error:
        open_anchors(path).check_counts(counts)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ALL)
def test_counts_that_an_edit_takes_are_not_refused(tmp_path, name):
    file, text = ALL[name]
    path = write(tmp_path, file, text)
    file_before = open_anchors(path)
    more = [count + 1 for count in file_before.counts]
    for counts in (file_before.counts, more, more[:-1] + file_before.counts[-1:]):
        try:
            edit_anchors(path, other(counts), dry_run=True)
        except ModelError as error:
            with pytest.raises(ModelError, match=re.escape(str(error))):
                file_before.check_counts(counts)
        else:
            file_before.check_counts(counts)


def test_counts_of_a_file_with_the_largest_first_are_given_the_smallest_first(tmp_path):
    path = write(tmp_path, "m.cfg", darknet_cfg(np.concatenate(example(1, 5)), [[2, 3, 4], [0, 1]]))
    file = open_anchors(path)
    assert file.counts == [2, 3]
    file.check_counts([2, 3])
    with pytest.raises(ModelError, match=r"\[yolo\] of line \d+ has 3 anchors.*it cannot take 2"):
        file.check_counts([3, 2])


@pytest.mark.parametrize("name", ["yolo v5s", "yolo p6", "darknet v3", "mmdet", "mmyolo", "paddle", "json"])
def test_an_edit_parses_the_old_text_once_and_the_new_text_once(tmp_path, monkeypatch, name):
    file, text = ALL[name]
    path = write(tmp_path, file, text)
    counts = open_anchors(path).counts
    parsed = []

    def count_calls(owner, name):
        real = getattr(owner, name)

        def counted(*args, **options):
            parsed.append(next(arg for arg in args if isinstance(arg, str)))
            return real(*args, **options)

        monkeypatch.setattr(owner, name, counted)

    count_calls(yaml.reader.Reader, "__init__")  # each pass of PyYAML over a text, also one over its tokens only
    count_calls(ast, "parse")
    count_calls(json, "loads")
    count_calls(darknet, "_parse")
    edit_anchors(path, other(counts))
    monkeypatch.undo()
    assert parsed == [text, path.read_text()]


@pytest.mark.parametrize("fault", ["elsewhere", "another number", "heights first"])
@pytest.mark.parametrize("name", ["yolo v5s", "darknet v3", "mmdet", "mmyolo", "paddle", "json"])
def test_an_edit_that_goes_wrong_is_seen_and_not_written(tmp_path, monkeypatch, name, fault):
    """Make wrong edits to see that the new text is parsed and compared before it is written."""
    file, text = ALL[name]
    path = write(tmp_path, file, text)
    document = registry.DOCUMENTS[open_anchors(path).format]
    right = document.find_edits

    def wrong(self, layers):
        if fault == "heights first":
            return right(self, [[pair[::-1] for pair in layer] for layer in layers])
        edits = list(right(self, layers))
        if fault == "another number":
            return edits and [(*edits[0][:2], "7.5"), *edits[1:]]
        word = re.search(r"nc: 7|classes=4|type='|\[8, 1|bn|nc\" *: 3", self.text)
        return edits and [*edits, (word.end(), word.end(), "1")]

    monkeypatch.setattr(document, "find_edits", wrong)
    with pytest.raises(ModelError, match="would not be read back as they are; write them by hand"):
        edit_anchors(path, other(open_anchors(path).counts))
    assert path.read_bytes() == text.encode()


def test_an_alias_of_anchors_can_be_read(tmp_path):
    path = write(tmp_path, "m.yaml", "x: &a [[1,2, 3,4]]\nanchors: *a\n")
    assert as_lists(read_anchors(path)) == [[[1, 2], [3, 4]]]


def test_invalid_anchors_are_not_written(tmp_path):
    path = write(tmp_path, "m.yaml", THREE)
    layers = example(3, 3)
    layers[1][0, 0] = np.nan
    with pytest.raises(ModelError, match="finite and > 0"):
        edit_anchors(path, layers)
    with pytest.raises(ModelError, match="pairs .w, h., got shape .3, 3."):
        edit_anchors(path, [np.ones((3, 3))] * 3)
    assert path.read_text() == THREE


def test_layers_given_the_largest_first_are_written_in_the_order_of_the_file(tmp_path):
    path = write(tmp_path, "m.yaml", THREE)
    layers = other([3, 3, 3])
    edit_anchors(path, layers[::-1])
    assert as_lists(read_anchors(path)) == as_lists(layers)


# ---- the file -----------------------------------------------------------------------------------------------------


def test_a_dry_run_shows_a_diff_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "m.yaml", b"nc: 1 # \xe9\nanchors: [[1,2]]")
    before = os.stat("m.yaml")
    diff = edit_anchors("m.yaml", [np.asarray([[3, 4]], np.float32)], dry_run=True)
    assert diff == (
        "--- m.yaml\n+++ m.yaml\n@@ -1,2 +1,2 @@\n nc: 1 # \ufffd\n-anchors: [[1,2]]\n\\ No newline at end of file\n"
        "+anchors: [[3,4]]\n\\ No newline at end of file\n"
    )
    after = os.stat("m.yaml")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert edit_anchors("m.yaml", [np.asarray([[1, 2]], np.float32)]) == ""
    assert os.stat("m.yaml").st_ino == before.st_ino  # nothing to change, nothing written
    assert os.listdir() == ["m.yaml"]


def test_the_mode_and_a_symlink_are_kept_and_a_hard_link_keeps_the_old_content(tmp_path):
    path = write(tmp_path, "m.yaml", "anchors: [[1,2]]\n")
    path.chmod(0o751)
    link, hard = tmp_path / "link.yaml", tmp_path / "hard.yaml"
    link.symlink_to("m.yaml")
    os.link(path, hard)
    edit_anchors(link, [np.asarray([[3, 4]], np.float32)])
    assert path.read_text() == "anchors: [[3,4]]\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o751
    assert os.readlink(link) == "m.yaml"
    assert hard.read_text() == "anchors: [[1,2]]\n"


def test_a_file_that_is_read_only_stays_so(tmp_path, monkeypatch):
    path = write(tmp_path, "m.yaml", "anchors: [[1,2]]\n")
    monkeypatch.setattr(os, "access", lambda *args: False)  # root can write any file
    with pytest.raises(PermissionError, match="read-only"):
        edit_anchors(path, [np.asarray([[3, 4]], np.float32)])
    assert path.read_text() == "anchors: [[1,2]]\n"


def test_a_folder_and_a_pipe_are_not_model_files(tmp_path):
    (tmp_path / "a.yaml").mkdir()
    os.mkfifo(tmp_path / "b.yaml")
    for name in ("a.yaml", "b.yaml"):
        with pytest.raises(ModelError, match="expected a file of anchors, got a (folder|pipe)"):
            read_anchors(tmp_path / name)


def test_nothing_in_a_config_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, *ALL["mmdet"])
    edit_anchors("c.py", other([3, 3, 3]))
    assert os.listdir() == ["c.py"]
