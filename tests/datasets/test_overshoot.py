"""Boxes a hair outside their image are kept and reported, by one rule for every format."""

import pytest
from helpers.slow_counts import make_coco, make_voc, make_yolo, voc_object

from anchorlib.datasets import read_boxes


@pytest.mark.parametrize(
    ("row", "remark"),
    [
        ("0 0.5 0.5 0.2 1.0000001", "2.5e-06 px beyond the image: '0 0.5 0.5 0.2 1.0000001' (kept)"),
        ("0 0.5 0.5 0.2 1.0004374453193", "0.0109 px beyond the image: '0 0.5 0.5 0.2 1.0004374453193' (kept)"),
        ("0 1.0000001 0.5 0.2 0.2", "10 px beyond the image: '0 1.0000001 0.5 0.2 0.2' (kept)"),
        ("0 -1e-7 0.5 0.2 0.2", "10 px beyond the image: '0 -1e-07 0.5 0.2 0.2' (kept)"),
        ("0 0.5 0.5 1.01 0.2", "0.5 px beyond the image: '0 0.5 0.5 1.01 0.2' (kept)"),  # 1 % of the side
        ("0 0.5 0.5 0.2 1.02", "0.5 px beyond the image: '0 0.5 0.5 0.2 1.02' (kept)"),  # one pixel of 50
        ("0 0.5 0.5 1.0101 0.2", "centre and size must be inside the image: '0 0.5 0.5 1.0101 0.2' (row refused)"),
        ("0 0.5 0.5 0.2 1.0201", "centre and size must be inside the image: '0 0.5 0.5 0.2 1.0201' (row refused)"),
    ],
)
def test_a_box_a_hair_outside_is_kept_and_shown_with_all_digits(tmp_path, row, remark):
    sizes = read_boxes(make_yolo(tmp_path, [row]), allow_empty=True)
    assert len(sizes) == remark.endswith("(kept)")
    assert str(sizes.problems[0]).endswith(remark)


@pytest.mark.parametrize(
    ("left", "top", "width", "height", "is_kept"),
    [
        (0, 0, 101, 50, True),  # one pixel wider than the image
        (0, 0, 100, 51, True),
        (0, 0, 101.5, 50, False),
        (0, 0, 100, 51.5, False),
        (-1, -1, 100, 50, True),
        (-6, 0, 10, 10, True),  # the centre is one pixel outside
        (-7, 0, 10, 10, False),
        (96, 46, 10, 10, True),
        (96, 47, 10, 10, False),
    ],
)
def test_the_rule_is_the_same_for_coco_voc_and_yolo(tmp_path, left, top, width, height, is_kept):
    right, bottom = left + width, top + height
    cx, cy = left + width / 2, top + height / 2
    row = f"0 {cx / 100!r} {cy / 50!r} {width / 100!r} {height / 50!r}"
    sets = [
        make_coco(tmp_path / "a.json", [{"image_id": 1, "bbox": [left, top, width, height]}]),
        make_voc(tmp_path / "voc", voc_object(left, top, right, bottom)),
        make_yolo(tmp_path / "yolo", [row]),
    ]
    written = [f"{left:g} {top:g} {width:g} {height:g}", f"{left:g} {top:g} {right:g} {bottom:g}", row[2:]]
    for path, numbers in zip(sets, written):
        sizes = read_boxes(path, allow_empty=True)
        (problem,) = [p for p in sizes.problems if p.kind not in ("class out of range", "path")]
        assert len(sizes) == is_kept
        assert (problem.kind, problem.action) == (
            ("out of bounds", "kept") if is_kept else ("out of [0, 1]", "row refused")
        )
        if is_kept:
            assert sizes.wh[0].tolist() == pytest.approx([width * 6.4, height * 6.4])  # not clipped
        assert [float(text) for text in problem.value.split()[1:]] == pytest.approx(
            [float(text) for text in numbers.split()], rel=1e-12
        )
