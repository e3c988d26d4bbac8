"""Damaged files of every format that the library reads: 500 of them in the suite, 20,000 and more by ci/fuzz.

A mutant is made from (seed, number) alone, so that a table's line is enough to have it again.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import signal
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
from PIL import Image
from slow import make_voc, make_yolo, voc_object

from anchorlib.datasets import read_boxes
from anchorlib.datasets.images import image_size
from anchorlib.errors import DatasetError, ModelError
from anchorlib.modelfiles import FORMATS, format_anchors, read_anchors

SECONDS = 5  # for one file; none takes a tenth of it
NUMBERS = (
    *(b"nan", b"inf", b"-", b"1e999", b"-1e-999", b"9" * 400, b"1_0", b"0x10", b".", b"1e", b"4294967296", b"-1"),
    *(b"0", b"-0", b"1e308", b"-1e308", b"NaN", b"Infinity", b"null", b"true", b"1.5", b"'1'", b'"1"', b"[]"),
)
TOKENS = (
    *NUMBERS,
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\t", b"\x1a", b"\xe2\x80\xa8", b"\xed\xa0\x80"),
    *(b"<", b"&a;", b"]]>", b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"</object>", b"<size/>", b"{", b"}", b"[", b"]"),
    *(b"*a", b"&a ", b"<<: *a", b"!!python/name:os.system ", b"!!binary ", b"!!timestamp 2001-99-99", b": ", b"- "),
    *(b"../", b"/", b"~", b"=", b"#", b";", b",", b"{}", b"'", b'"', b"? ", b"!!set ", b"\\u0000", b"\\ud800"),
    *(b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"IDAT", b"Exif\0\0", b"\xff\xe1"),
)
NUMBER = re.compile(rb"-?\d+\.?\d*")


@dataclass(frozen=True)
class Reader:
    """Something that reads files.

    suffix : of its files
    seeds : what a file of it may hold
    read : reads a file that is written to `place(folder)`, checks what it got, and gives its problems as texts
    errors : what it may raise
    """

    name: str
    suffix: str
    seeds: tuple[bytes, ...]
    place: Callable[[Path], Path]
    read: Callable[[Path, int], list[str]]
    errors: tuple[type[Exception], ...] = (DatasetError,)

    def mutant(self, seed: int, number: int) -> bytes:
        """The bytes of a damaged file."""
        rng = np.random.default_rng([seed, number])
        data, other = (self.seeds[rng.integers(len(self.seeds))] for _ in range(2))
        return damage(data, other, rng)


def damage(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Half keep the file's form and have other numbers; half have bytes changed, cut, doubled, moved and put in."""
    changed = bytearray(data)
    keeps_form = rng.random() < 0.5
    for _ in range(min(rng.geometric(0.5), 8)):
        numbers = list(NUMBER.finditer(changed)) if keeps_form else []
        if numbers:
            found = numbers[rng.integers(len(numbers))]
            changed[found.start() : found.end()] = _any_number(numbers, rng)
        else:
            _damage_once(changed, other, rng)
    return bytes(changed)


def _any_number(numbers: list[re.Match[bytes]], rng: np.random.Generator) -> bytes:
    """A troublesome number, another one of the file, or one with other digits."""
    kind = rng.integers(3)
    if kind == 0:
        return NUMBERS[rng.integers(len(NUMBERS))]
    if kind == 1:
        return numbers[rng.integers(len(numbers))].group()
    return f"{rng.normal() * 10.0 ** rng.integers(-3, 6):.{rng.integers(20)}g}".encode()


def _damage_once(changed: bytearray, other: bytes, rng: np.random.Generator) -> None:
    at, to = sorted(map(int, rng.integers(0, len(changed) + 1, 2)))
    kind = rng.integers(9)
    if kind == 0 and changed:
        changed[rng.integers(len(changed))] = rng.integers(256)
    elif kind == 1 and changed:
        changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        del changed[at : min(to, at + 20)]
    elif kind == 3:
        changed[at:at] = changed[at:to][:200]
    elif kind == 4:
        del changed[rng.integers(len(changed) + 1) :]
    elif kind == 5:
        changed[at:to] = other[at:to][:500]
    elif kind == 6:
        piece = changed[at:to][:50]
        changed[at:at] = piece * int(rng.integers(1, 200))
    else:
        changed[at:at] = TOKENS[rng.integers(len(TOKENS))]


def make_folder(folder: Path) -> Path:
    """The sound files that stand around the damaged one."""
    make_yolo(folder, [LABELS[0].decode(), LABELS[1].decode(), None])
    (folder / "list.txt").write_bytes(LISTS[0])
    (folder / "set.names").write_text("cat\ndog\n")
    make_voc(folder / "voc", voc_object(10, 10, 30, 20) * 2)
    (folder / "voc" / "ImageSets" / "Main").mkdir(parents=True)
    return folder


def run(reader: Reader, folder: Path, data: bytes, number: int = 0) -> str:
    """'read', 'refused', or a traceback of what must not happen. The file stays where the reader looks for it."""
    reader.place(folder).write_bytes(data)
    try:
        with warnings.catch_warnings(), limit(SECONDS):
            warnings.simplefilter("error", RuntimeWarning)  # NumPy's, of overflows: nobody can act on them
            reader.read(folder, number)
        return "read"
    except reader.errors as error:
        # The systems' limit on memory must not pass for a refusal.
        return "refused" if "MemoryError" not in str(error) else traceback.format_exc()
    except (Exception, TooSlow):
        return traceback.format_exc()


class TooSlow(BaseException):
    """Not an Exception: what catches all of Pillow's errors must not catch this."""


@contextlib.contextmanager
def limit(seconds: float):
    """TooSlow after so many seconds, in the midst of whatever runs."""

    def stop(*_):
        raise TooSlow(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    started = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if time.monotonic() - started > seconds:  # in C, where no signal is seen
        raise TooSlow(f"{time.monotonic() - started:.1f} s")


def _boxes(entry: str, split: str = "all") -> Callable[[Path, int], list[str]]:
    def read(folder: Path, number: int) -> list[str]:
        sizes = read_boxes(folder / entry, split=split, problems=("report", "raise")[number % 2])
        assert sizes.rows_read == len(sizes.wh) + sizes.rows_refused
        assert math.isfinite(sizes.wh.sum())
        assert (sizes.wh >= 0).all()
        assert (np.diff(sizes.image_index) >= 0).all()
        assert len(sizes.classes) == len(sizes.image_index) == len(sizes.wh)
        assert sizes.image_index.max() < len(sizes.image_wh) == len(sizes.image_names)
        told = [str(problem) for problem in sizes.problems]
        assert not [text for text in told if "MemoryError" in text]
        return told

    return read


def _image(folder: Path, number: int) -> list[str]:
    width, height, _ = image_size(str(folder / "image"))
    assert width > 0
    assert height > 0
    return []


def _anchors(name: str) -> Callable[[Path, int], list[str]]:
    def read(folder: Path, number: int) -> list[str]:
        for layer in read_anchors(folder / name):
            assert layer.shape[1] == 2
            assert np.isfinite(layer).all()
            assert (layer > 0).all()
        return []

    return read


def _at(path: str) -> Callable[[Path], Path]:
    return lambda folder: folder / path


LABELS = (
    b"0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.2 0.1 0.2 0.3\n",
    b"\xef\xbb\xbf1 0.512345 0.4999999 1e-1 .25\r\n0 0.5 0.5 0.2 0.4 \r\n\r\n0 5e-1 +0.5 0.25 0.75\r\n",
    b"0 0.5 0.5 0.1 0.1 0.3 0.3 2 0.4 0.4 1\n" * 3,
    b"".join(b"%d 0.%04d 0.5 0.1 0.2\n" % (i % 2, 1000 + 37 * i) for i in range(60)),
)
YAMLS = (
    b"train: images/train\nnc: 2\nnames: [cat, dog]\n",
    b"path: .\ntrain: [images/train, images/train]\nval: ../images/train\ntest: list.txt\nnames:\n  0: cat\n  1: dog\n",
    b"a: &a {x: 1}\nb: *a\ntrain: list.txt\nkpt_shape: [2, 3]\nnc: 2\ndownload: |\n  echo 1\n",
)
LISTS = (
    b"images/train/a.png\nimages/train/b.png\n",
    b"./images/train/a.png\r\n\r\n../images/train/c.png\nimages/train/gone.png\n",
)
OPTIONS = (
    b"classes=2\ntrain=list.txt\nnames=set.names\n",
    b"# of pets\nclasses = 2\ntrain  = ./list.txt\nvalid = list.txt\ntest=gone.txt\nnames = set.names\nbackup = b\n",
)
VOC = tuple(
    text.encode()
    for text in (
        f"<annotation><filename>a.jpg</filename><size><width>100</width><height>50</height><depth>3</depth></size>"
        f"{voc_object(10, 10, 30, 20)}{voc_object('1.5', 2, '40.25', 50, 'dog')}</annotation>",
        "<?xml version='1.0' encoding='utf-8'?>\n<!DOCTYPE annotation>\n<annotation>\n <filename>a.jpg</filename>"
        + voc_object(1, 2, 3, 4, extra="<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>")
        + "<!-- here --><size><width>1e2</width><height>50.0</height></size></annotation>",
    )
)
SPLITS = (b"a\n", b"a  1\ngone -1\r\n")


def _coco() -> tuple[bytes, ...]:
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 3.5, 4, 5, 6]]},
        {"id": 2, "image_id": "2", "category_id": 3, "bbox": [0.5, 1.25, 30.0, 4e1], "iscrowd": 0, "area": 12.5},
        {"id": 3, "image_id": 1, "category_id": 3, "bbox": [0, 0, 5, 5], "iscrowd": 1, "segmentation": {"size": [2]}},
    ]
    images = [{"id": n, "width": 100, "height": 50, "file_name": f"{n}.jpg"} for n in (1, 2)]
    categories = [{"id": 1, "name": "cat"}, {"id": 3, "name": "d\u00f6g"}]
    content = {"images": images, "categories": categories}
    return tuple(json.dumps({**content, "annotations": chosen}).encode() for chosen in (annotations[:1], annotations))


def _images() -> tuple[bytes, ...]:
    """One of each kind that Pillow can write, some with EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    made = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "MPO", "JPEG2000", "AVIF"):
        for options in ({}, {"exif": exif}, {"progressive": True, "comment": b"here", "compression": "tiff_lzw"}):
            file = io.BytesIO()
            with contextlib.suppress(KeyError, OSError, ValueError):  # this Pillow was built without that kind
                Image.new("RGB", (40, 30), (200, 10, 90)).save(file, kind, **options)
                made.append(file.getvalue())
    return tuple(dict.fromkeys(made))


ANCHORS = [np.asarray([[10, 13], [16, 30.5]]), np.asarray([[61, 45], [116, 90]])]
SUFFIXES = {"yolo": ".yaml", "darknet": ".cfg", "mmdet": ".py", "paddle": ".yaml", "json": ".json"}
MODELS = {
    "yolo": b"nc: 80\nanchors:\n  - [10,13, 16,30]\nbackbone:\n  [[-1, 1, Conv, [64, 6, 2, 2]]]\n",
    "darknet": b"[net]\nbatch=64\n[region]\nanchors = 1.3221, 1.73145, 3.19275, 4.00944\nnum=2\n",
    "mmdet": b"_base_ = '../base.py'\nanchors = [[(10, 13), (16, 30)], [(30, 61)]]\nmodel = dict(bbox_head=dict())\n",
    "paddle": b"YOLOv3Head:\n  anchors: [[10, 13], [16, 30], [33, 23]]\n  anchor_masks: [[1, 2], [0]]\n  nc: 80\n",
    "json": b"[[10, 13], [16, 30]]",
}


def all_readers() -> tuple[Reader, ...]:
    """Every reader of files there is; a new one has a line here."""
    return (
        Reader("YOLO labels", ".txt", LABELS, _at("labels/train/a.txt"), _boxes("data.yaml")),
        Reader("data.yaml", ".yaml", YAMLS, _at("data.yaml"), _boxes("data.yaml")),
        Reader("list of images", ".txt", LISTS, _at("list.txt"), _boxes("list.txt")),
        Reader("darknet .data", ".data", OPTIONS, _at("set.data"), _boxes("set.data")),
        Reader("COCO json", ".json", _coco(), _at("coco.json"), _boxes("coco.json")),
        Reader("VOC xml", ".xml", VOC, _at("voc/Annotations/a.xml"), _boxes("voc")),
        Reader("VOC list", ".txt", SPLITS, _at("voc/ImageSets/Main/val.txt"), _boxes("voc", "val")),
        Reader("image header", ".image", _images(), _at("image"), _image, (OSError,)),
        *(
            Reader(
                f"anchors {form}",
                SUFFIXES[form],
                (format_anchors(ANCHORS, form).encode(), MODELS[form]),
                _at(f"anchors{SUFFIXES[form]}"),
                _anchors(f"anchors{SUFFIXES[form]}"),
                (ModelError,),
            )
            for form in FORMATS
        ),
    )
