"""Check how results look in a terminal, in a notebook and as JSON."""

import dataclasses
import functools
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from anchorlib import build_targets, fit_anchors, read_boxes, score
from anchorlib.datasets import Problem
from anchorlib.markup import Markup, element, join
from anchorlib.results import counted, grouped, printable, table

BOXES_WH = [[10.0, 20.0], [12.0, 20.0], [100.0, 90.0], [90.0, 100.0]]


def text_of(html):
    """Return the text that a browser would show; check that all elements are closed."""
    parts, open_elements = [], []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            open_elements.append(tag)

        def handle_endtag(self, tag):
            assert open_elements.pop() == tag

        def handle_data(self, data):
            parts.append(data)

    parser = Parser()
    parser.feed(html)
    parser.close()
    assert not open_elements
    return " | ".join(parts)


@functools.lru_cache
def read_bccd():
    return read_boxes(Path(__file__).parent / "data/bccd", split="all")


@pytest.fixture
def results(backend):
    boxes_wh = backend.array(BOXES_WH, np.float32)
    targets = backend.array([[0, 1, 0.5, 0.5, 0.25, 0.5], [0, 2, 0.2, 0.3, 0.5, 0.25]], np.float32)
    return {
        "score": score(boxes_wh, boxes_wh[:1, :]),
        "fit": fit_anchors(boxes_wh, 2, method="kmeans"),
        "boxes": read_bccd(),
        "targets": build_targets(targets, backend.array([[[2, 4], [4, 2]]], np.float32), [(8, 8)])[0],
    }


@pytest.mark.parametrize("name", ["score", "fit", "boxes", "targets"])
def test_json_holds_what_the_dict_holds(results, name):
    result = results[name]
    assert json.loads(result.to_json()) == result.to_dict()
    assert "\n  " in result.to_json(indent=2)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("score", ["bpr=0.5", "n_boxes=4"]),
        ("fit", ["AnchorFit(2 anchors: 11.0,20.0  95.0,95.0; bpr 1.0000, 1.00 anchors/target"]),
        ("boxes", ["BoxSizes(4888 boxes in 364 images"]),
        ("targets", ["LayerTargets(", " rows, "]),
    ],
)
def test_a_repr_says_what_it_is_on_one_line(results, name, shown):
    said = repr(results[name])
    assert all(part in said for part in shown)
    assert len(said) < 300
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("score", ["best possible recall | 0.5000", "boxes | 4"]),
        ("fit", ["11.0,20.0  95.0,95.0", "fitness", "kmeans, seed 0"]),
        ("boxes", ["boxes | 4 888", "problem: zero area | 2"]),
        ("targets", ["cls | ", "int64", "float32 ("]),
    ],
)
def test_a_notebook_shows_a_table(results, name, shown):
    text = text_of(results[name]._repr_html_())
    assert all(part in text for part in shown), text


def test_a_notebook_shows_problems_by_kind_with_an_example_of_each():
    problem = Problem("zero area", "<b>.txt", 7, "0 0.5 0.5 0 0.2", "kept", "width must be > 0")
    boxes = read_boxes(Path(__file__).parent / "data/bccd", split="all")
    text = text_of(boxes.problems._repr_html_())
    assert text.startswith("zero area | 2 | ")
    assert text.count("width and height must be > 0") == 1
    assert text_of(dataclasses.replace(boxes, problems=[]).problems._repr_html_()) == "problems | none"
    several = dataclasses.replace(boxes, problems=[problem] * 1200).problems
    assert "1 200" in text_of(several._repr_html_())
    assert len(several._repr_html_()) < 300
    assert several == [problem] * 1200


def test_a_notebook_shows_the_anchors_of_each_layer():
    text = text_of(fit_anchors(np.asarray(BOXES_WH), [1, 2])._repr_html_())
    assert "layer 1 (w,h px) | 10.0,20.0 | layer 2 (w,h px) | 12.0,20.0  90.0,100.0" in text


def test_the_dict_of_a_fit_has_anchors_of_all_digits_and_the_score(results):
    fit = results["fit"]
    assert fit.to_dict()["anchors"] == [[11.0, 20.0], [95.0, 95.0]]
    assert fit.to_dict()["fitness"] == fit.score.fitness
    assert (fit.to_dict()["method"], fit.to_dict()["counts"]) == ("kmeans", [2])


def test_the_dict_of_targets_has_their_rows(results):
    columns = results["targets"].to_dict()
    assert set(columns) == {"cls", "box", "image", "anchor", "gj", "gi", "anchor_wh", "target"}
    assert set(columns["cls"]) == {1, 2}
    assert {len(column) for column in columns.values()} == {len(columns["cls"])}


def test_the_dict_of_boxes_names_classes_and_problems(results):
    found = results["boxes"].to_dict()
    assert found["boxes_per_class"] == {"Platelets": 361, "RBC": 4155, "WBC": 372}
    assert sum(found["boxes_per_class"].values()) == found["n_boxes"] == 4888
    assert found["problems"][0]["kind"] == "zero area"
    assert set(found["problems"][0]) == set(Problem.__dataclass_fields__)


def test_the_first_column_of_a_table_heads_its_rows():
    rows = [("", "w", "h"), ("least", 1.5, 2)]
    head, least = (f'<th scope="row">{name}</th>' for name in ("", "least"))
    assert table(rows) == (f"<table><tr>{head}<td>w</td><td>h</td></tr><tr>{least}<td>1.5</td><td>2</td></tr></table>")


def test_numbers_are_grouped_and_have_their_nouns():
    assert [grouped(count) for count in (0, 999, 1000, 12345678)] == ["0", "999", "1 000", "12 345 678"]
    assert [counted(count, "box") for count in (0, 1, 2000)] == ["0 boxes", "1 box", "2 000 boxes"]
    assert [counted(count, "image") for count in (1, 2)] == ["1 image", "2 images"]


def test_what_is_not_markup_is_escaped_wherever_it_stands():
    hostile = "<script>alert('&')</script>\""
    assert element("p", hostile) == "<p>&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;&quot;</p>"
    assert element("p", title=hostile).startswith('<p title="&lt;script&gt;')
    assert '"' not in element("p", title='a"b')[len('<p title="') : -len('"></p>')]
    assert join(hostile, element("b", 1)) == join(hostile) + "<b>1</b>"
    assert table([(hostile, hostile)]).count("<script") == 0
    assert element("p", Markup("<b>")) == "<p><b></p>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("images/\x1b[31mred\x1b[0m.jpg", r"images/\x1b[31mred\x1b[0m.jpg"),
        ("a\0b\rc\x07\n\t", r"a\x00b\rc\x07\n\t"),
        ("\x9b31m\u202egpj.exe\u2028", r"\x9b31m\u202egpj.exe\u2028"),  # a C1 sequence, a reversed name, a line break
        ("not utf-8: \udcce", r"not utf-8: \udcce"),
        ("图片 1, ö, \U0001f6a2", "图片 1, ö, \U0001f6a2"),
    ],
)
def test_what_cannot_be_printed_safely_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_line_feeds_of_our_own_text_can_be_kept():
    assert printable("a\n\tb\r", keep="\n\t") == "a\n\tb\\r"
