"""What a stranger may put in a file's place: a clear error or problem each, at once; nothing hangs, nothing is run."""

import json
import os
import zlib

import pytest
from helpers.all_readers import all_readers, make_folder
from helpers.data_set_kinds import age
from helpers.mutate import limit
from helpers.slow_counts import make_voc, make_yolo, voc_object

from anchorlib.cli import main
from anchorlib.datasets import read_boxes
from anchorlib.errors import DatasetError, ModelError
from anchorlib.modelfiles import read_anchors

READERS = {reader.name: reader for reader in all_readers()}
GOOD = "0 0.5 0.5 0.2 0.4\n"
HUGE = 2 << 30


@pytest.fixture(autouse=True)
def at_once():
    with limit(3):
        yield


def pipe(path):
    os.mkfifo(path)


def huge(path):
    with open(path, "wb") as file:
        file.truncate(HUGE)


def loop(path):
    os.symlink(path.name, path)


def device(path):
    os.symlink("/dev/zero", path)


def folder(path):
    path.mkdir()


IN_PLACE = {  # what stands there -> what must be told
    pipe: "pipe",
    # Of an image only the header is read; a zip and a pickle are not known by their size.
    huge: f"{HUGE} bytes|not an image|not a zip|neither as a zip|not a pickle|meta is damaged|this file is not a cache",
    loop: "levels of symbolic links|there is no such|not there|link without a target|must have the files",
    device: "device|this file is not a cache",
    folder: "folder|looked for|Is a directory",
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in its file system")
@pytest.mark.parametrize("thing", IN_PLACE, ids=lambda thing: thing.__name__)
@pytest.mark.parametrize("name", READERS)
def test_in_a_files_place_is_told_at_once(tmp_path, name, thing):
    reader = READERS[name]
    place = reader.place(make_folder(tmp_path))
    place.write_bytes(b"")
    place.unlink()
    thing(place)
    try:
        told = "\n".join(reader.read(tmp_path, 0))
    except (*reader.errors, OSError) as error:
        told = str(error)
    words = IN_PLACE[thing].split("|")
    assert any(word in told for word in words), told
    unnamed = ("image header", "OneFlow folder", "OneFlow tensor")  # of the last two the folder is named
    assert place.name in told or name in unnamed


def test_an_image_of_two_gigabytes_has_the_size_of_its_header(tmp_path):
    path = make_yolo(tmp_path, [GOOD])
    with open(tmp_path / "images" / "train" / "a.png", "r+b") as file:
        file.truncate(HUGE)
    assert read_boxes(path).wh.tolist() == [[128.0, 128.0]]


@pytest.mark.parametrize("side", [2**31, 2**32 - 1])
@pytest.mark.parametrize("at", [16, 20], ids=["width", "height"])
@pytest.mark.parametrize("with_text", [False, True], ids=["our reader", "Pillow"])
def test_a_png_side_that_no_png_has_is_an_unreadable_image(tmp_path, side, at, with_text):
    path = make_yolo(tmp_path, [GOOD, GOOD])
    image = tmp_path / "images" / "train" / "a.png"
    data = bytearray(image.read_bytes())
    data[at : at + 4] = side.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    if with_text:  # text that may hold EXIF is left to Pillow
        data[33:33] = b"\0\0\0\5tEXtexif\0" + zlib.crc32(b"tEXtexif\0").to_bytes(4, "big")
    image.write_bytes(data)
    boxes = read_boxes(path)
    assert len(boxes) == 1
    assert [problem.kind for problem in boxes.problems] == ["unreadable image"]
    assert "cannot be read" in boxes.problems[0].message


LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 14))
BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + LAUGHS  # 10 ** 14 numbers in two kilobytes
MERGES = "m0: &m0 {k: 1}\n" + "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}\n" for n in range(1, 14))


@pytest.mark.parametrize(
    "line",
    [
        "train: *a13",
        "names: *a13",
        "names: !!pairs [cat: *a13]",
        "names: {0: *a13}",
        "nc: *a13",
        "kpt_shape: *a13",
        "path: *a13",
        "? *a13\n: 1",
        "unused: *a13",
    ],
)
def test_aliases_upon_aliases_in_a_data_yaml_end_at_once(tmp_path, line):
    path = make_yolo(tmp_path, [GOOD], yaml=BOMB + ("" if line.startswith("train") else "train: images/train\n") + line)
    if line.startswith(("nc", "path", "unused")):  # which hold no list where one is looked for
        assert len(read_boxes(path)) == 1
    else:
        with pytest.raises(DatasetError) as error:
            read_boxes(path)
        assert len(str(error.value)) < 1000


@pytest.mark.parametrize("bomb", ["*a13", "[*a13, *a13]", "[*a2, *a2]", "{x: *a13}"])
def test_aliases_upon_aliases_in_a_model_yaml_end_at_once(tmp_path, bomb):
    path = tmp_path / "model.yaml"
    path.write_text(BOMB + f"anchors: {bomb}\n")
    with pytest.raises(ModelError) as error:
        read_anchors(path)
    assert len(str(error.value)) < 1000


def test_merges_upon_merges_do_not_grow(tmp_path):
    path = make_yolo(tmp_path, [GOOD], yaml=MERGES + "train: images/train\n")
    with pytest.raises(DatasetError, match="not a YAML file that is safe"):
        read_boxes(path)
    (tmp_path / "model.yaml").write_text(MERGES + "anchors: [[10,13, 16,30]]\n")
    assert read_anchors(tmp_path / "model.yaml")[0].tolist() == [[10, 13], [16, 30]]  # the merges are not made


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.mkdir [pwned]", "!!python/name:os.system", "!!python/object/new:os.system [true]"],
)
def test_tags_run_nothing(tmp_path, monkeypatch, tag):
    monkeypatch.chdir(tmp_path)
    path = make_yolo(tmp_path, [GOOD], yaml=f"train: images/train\nnames: {tag}\n")
    with pytest.raises(DatasetError, match="not a YAML file that is safe to read: could not determine a constructor"):
        read_boxes(path)
    (tmp_path / "model.yaml").write_text(f"anchors: {tag}\n")
    with pytest.raises(ModelError, match="not a yolo file with anchors"):
        read_anchors(tmp_path / "model.yaml")
    assert not (tmp_path / "pwned").exists()


DOCTYPES = {
    "quadratic": f'<!DOCTYPE x [<!ENTITY e "{"x" * 10_000}">]>',
    "file": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
    "parameter": '<!DOCTYPE x [<!ENTITY % e SYSTEM "http://127.0.0.1:9/x.dtd"> %e;]>',
    "outside": '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
}


@pytest.mark.parametrize("head", DOCTYPES.values(), ids=DOCTYPES)
def test_entities_are_refused_and_nothing_outside_is_opened(tmp_path, head):
    make_voc(tmp_path, voc_object(1, 1, 5, 5))
    body = voc_object(1, 1, 9, 9) if head == DOCTYPES["outside"] else "<object><name>" + "&e;" * 10_000
    body = body if body.endswith("</object>") else body + "</name></object>"
    make_voc(tmp_path, body, name="b", head=head)
    sizes = read_boxes(tmp_path, split="all")
    if head == DOCTYPES["outside"]:  # named, and never fetched
        assert len(sizes) == 2
        return
    assert sizes.count_problems() == {"unreadable label": 1}
    assert "is not read because it has a harmful declaration" in sizes.problems[0].message


@pytest.mark.parametrize("entry", ["/", "../" * 40, "images/../../../../../../../../../../.."])
def test_the_whole_file_system_is_no_folder_of_images(tmp_path, entry):
    with pytest.raises(DatasetError, match="train is the root of the file system"):
        read_boxes(make_yolo(tmp_path, [GOOD], yaml=f"train: {entry}\n"))


def test_a_list_may_lead_out_of_its_folder_as_real_ones_do(tmp_path):
    make_yolo(tmp_path / "pets", [GOOD, GOOD])
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text("../pets/images/train/a.png\n../pets/../pets/images/train/b.png\n")
    assert len(read_boxes(tmp_path / "lists" / "train.txt")) == 2


LONG = "9" * 400  # no float64 holds it
LONGER = "9" * 5000  # and Python 3.11 does not make an int of it


@pytest.mark.parametrize("digits", [LONG, LONGER])
def test_numbers_beyond_all_types_are_told_or_left_out(tmp_path, digits):
    row = f"0 0.5 0.5 0.2 {digits}\n{digits} 0.5 0.5 0.2 0.4\n"
    yaml = make_yolo(tmp_path, [GOOD + row], yaml=f"train: images/train\nnc: {digits}\n")
    try:
        assert read_boxes(yaml).count_problems() == {"not a number": 2}
    except DatasetError:  # an integer with more digits than Python converts
        assert digits == LONGER
    (tmp_path / "list.txt").write_text("images/train/a.png\n")
    (tmp_path / "set.data").write_text(f"classes = {digits}\ntrain = list.txt\n")
    assert read_boxes(tmp_path / "set.data").count_problems() == {"not a number": 2}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", f"[[10, {LONG}]]"),
        ("a.json", f"[[10, {LONGER}]]"),
        ("a.json", "[" * 100_000),
        ("a.py", f"anchors = [[(10, {LONG})]]"),
        ("a.py", "anchors = " + "-" * 100_000 + "1"),  # Python's parser ends with a MemoryError
        ("a.py", "anchors = " + "(" * 1000),
        ("a.py", "x = dict(base_sizes=[[[[10, 13]]], [[[16, 30]]]])"),
        ("a.py", "x = dict(base_sizes=[1, 2])"),
        ("a.cfg", f"anchors = 10, {LONGER}\n"),
        ("a.cfg", "anchors = 10,13\nmask = -1\n"),
        ("a.cfg", f"anchors = 10,13\nmask = {LONGER}\n"),
        ("a.yaml", f"anchors: [[10, {LONG}]]\n"),
        ("a.yaml", "anchors: [[10, 2001-99-99]]\n"),
    ],
)
def test_a_file_of_anchors_that_is_none_is_a_model_error(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ModelError) as error:
        read_anchors(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert len(str(error.value)) < 1000


def test_half_characters_in_json_reach_no_encoder(tmp_path, capsys):
    """JSON may hold a lone surrogate, which no encoding can write: reports, caches and texts replace or escape it."""
    half = "\ud800"
    images = [{"id": 1, "width": 100, "height": 100, "file_name": f"{half}.jpg"}]
    boxes = [
        {"image_id": 1, "category_id": 1, "bbox": box} for box in ([1, 2, 30, 40], [1, 2, 33, 40], [half, 2, 3, 4])
    ]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": f"c{half}t"}]}
    data, page, cache = tmp_path / "a.json", tmp_path / "r.html", tmp_path / "cache"
    data.write_text(json.dumps(content))
    age(tmp_path)
    assert main(["fit", str(data), "--n", "2", "--report", str(page), "--out", str(tmp_path / "o.yaml")]) == 0
    page.read_text(encoding="utf-8")
    for options in ([], ["--json"], ["--cache", str(cache)], ["--cache", str(cache)]):
        assert main(["check-labels", str(data), *options]) == 1
    assert cache.exists()
    captured = capsys.readouterr()
    (captured.out + captured.err).encode()
