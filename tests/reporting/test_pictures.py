import io
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anchorlib import BoxSizes
from anchorlib.cli import main
from anchorlib.reporting import pictures
from anchorlib.reporting.report_data import UnmatchedBox

RED, GREY = (230, 20, 20), (128, 128, 128)


def draw_image(path, corners, size=(400, 300)):
    image = Image.new("RGB", size, GREY)
    ImageDraw.Draw(image).rectangle(corners, fill=RED)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=95)


def cut(folder, name, corners, size=(400, 300), **options):
    sizes = BoxSizes.from_boxes([[corners]], [size], centres=True, **options)
    box = UnmatchedBox(name, "thing", *sizes.wh[0].tolist(), 0.1, 0)
    return pictures.cut_pictures(sizes, [box], [str(folder)])


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture.jpeg)).convert("RGB")).astype(int)


def is_near(pixels, colour):
    return (abs(pixels - colour) < 60).all(axis=-1)


@pytest.mark.parametrize("options", [{}, {"imgsz": (320, 640)}, {"resize": "stretch"}])
@pytest.mark.parametrize("corners", [[100, 100, 180, 160], [0, 0, 60, 20], [390, 50, 400, 300], [0, 0, 400, 300]])
def test_the_outline_is_around_the_box_wherever_the_box_is(tmp_path, corners, options):
    draw_image(tmp_path / "images" / "a.jpg", corners)
    (picture,) = cut(tmp_path, "a.jpg", corners, **options)
    shown = pixels(picture)
    assert shown.shape[:2] == (picture.height, picture.width)
    assert picture.width <= 260
    assert picture.height <= 195
    ys, xs = np.nonzero(is_near(shown, RED))
    ink = is_near(shown, pictures._INK)
    for side in (ink[max(ys.min() - 4, 0) : ys.min() + 1], ink[ys.max() : ys.max() + 5]):
        inside = ys.min() > 4 and ys.max() < picture.height - 5  # the outline is cut off at the edges of the image
        assert side.any() or not inside
    left, right = ink[:, max(xs.min() - 4, 0) : xs.min() + 1].any(), ink[:, xs.max() : xs.max() + 5].any()
    assert left or xs.min() <= 4
    assert right or xs.max() >= picture.width - 5


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".gif", ".tif"])
def test_pictures_are_cut_from_the_usual_kinds_of_images_and_from_nothing_that_starts_a_program(tmp_path, suffix):
    draw_image(tmp_path / f"a{suffix}", [100, 100, 180, 160])
    assert len(cut(tmp_path, f"a{suffix}", [100, 100, 180, 160])) == 1
    Image.new("RGB", (40, 30)).save(tmp_path / "b.eps")  # Ghostscript would decode it
    assert cut(tmp_path, "b.eps", [0, 0, 10, 10], size=(40, 30)) == []


def test_the_image_on_disk_may_have_another_size_than_the_labels_say(tmp_path):
    draw_image(tmp_path / "JPEGImages" / "a.jpg", [50, 50, 90, 80], size=(200, 150))
    (picture,) = cut(tmp_path, "a.jpg", [100, 100, 180, 160])
    assert is_near(pixels(picture), RED).mean() > 0.08


@pytest.mark.parametrize(
    "name", ["../secret/a.jpg", "/secret/a.jpg", "..\\secret\\a.jpg", "nowhere.jpg", "", "broken.jpg"]
)
def test_a_name_in_the_labels_leads_to_no_other_folder_and_a_damaged_image_to_no_picture(tmp_path, name):
    draw_image(tmp_path / "secret" / "a.jpg", [0, 0, 10, 10])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no image")
    name = name if not name.startswith("/") else f"{tmp_path}{name}"
    assert cut(tmp_path / "data", name, [0, 0, 10, 10]) == []


def test_without_centres_there_are_no_pictures(tmp_path):
    draw_image(tmp_path / "a.jpg", [0, 0, 10, 10])
    sizes = BoxSizes.from_boxes([[[0, 0, 10, 10]]], [[400, 300]])
    assert pictures.cut_pictures(sizes, [UnmatchedBox("a.jpg", "", 10, 10, 0, 0)], [str(tmp_path)]) == []


def test_the_page_of_a_data_set_with_images_has_eight_pictures_in_less_than_a_megabyte(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(12):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "images").mkdir(exist_ok=True)
        noise = rng.integers(0, 255, (900, 1200, 3), dtype=np.uint8)  # the largest pictures that there are
        Image.fromarray(noise).save(tmp_path / "images" / f"{i}.png", compress_level=0)
        (tmp_path / "labels" / f"{i}.txt").write_text("0 0.5 0.5 0.9 0.01\n0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [thing]\n")
    (tmp_path / "anchors.json").write_text("[[[64, 48]]]")
    report = tmp_path / "report.html"
    arguments = ["check", str(tmp_path), "--anchors", str(tmp_path / "anchors.json"), "--no-curve"]
    assert main([*arguments, "--report", str(report)]) == 1
    html = report.read_text(encoding="utf-8")
    assert len(re.findall('<img src="data:image/jpeg;base64,', html)) == 8
    assert 50_000 < len(html) < 1_000_000
    assert "img-src data:" in html
