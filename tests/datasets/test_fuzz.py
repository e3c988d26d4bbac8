"""Damaged files for every reader, by the mutator of ci/fuzz and by hypothesis; and the mutator's own alarms."""

import dataclasses
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
import yaml
from helpers.all_readers import all_readers, make_folder
from helpers.mutate import pack, run, unpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchorlib.errors import DatasetError

READERS = {reader.name: reader for reader in all_readers()}
MUTANTS = 1200
EACH = -(-MUTANTS // len(READERS))


@pytest.fixture(params=READERS, ids=str)
def reader(request):
    return READERS[request.param]


@pytest.fixture
def folder(tmp_path):
    inner = tmp_path / "a" / "b" / "c" / "d"  # ../ in a list must not lead to other tests' files
    inner.mkdir(parents=True)
    return make_folder(inner)


def test_a_damaged_file_is_read_or_refused_with_a_documented_error(reader, folder):
    outcomes = []
    for number in range(EACH):
        outcomes.append(run(reader, folder, reader.mutant(0, number), number))
        assert outcomes[-1] in ("read", "refused"), (number, outcomes[-1])
    assert min(outcomes.count("read"), outcomes.count("refused")) >= EACH // 20  # it is damage, and not ruin


LONG = {  # a reader, what stands before a run, the run, what follows it
    "numbers in the list of a class": ("VOC list", b"a", b" 1", b" b"),
    "images in a list of pairs": ("VOC list", b"a", b".jpg ", b"a"),
    "folders of a path": ("data.yaml", b"train: '", b"a/", b"'\n"),
    "folders of the root": ("data.yaml", b"train: images/train\npath: '", b"a/", b"'\n"),
    "brackets": ("data.yaml", b"train: a\nnames: ", b"[", b"\n"),
}


@pytest.mark.parametrize("kind", LONG)
def test_a_long_run_does_not_take_a_number_of_steps_that_grows_with_its_square(folder, kind):
    name, before, run_of, after = LONG[kind]
    outcome = run(READERS[name], folder, before + run_of * (100_000 // len(run_of)) + after)
    assert outcome in ("read", "refused"), outcome


def test_sound_files_are_read(reader, folder):
    for data in reader.seeds:
        reader.place(folder).write_bytes(data)
        reader.read(folder, 0)


def test_a_mutant_can_be_made_again(reader):
    mutants = [reader.mutant(7, number) for number in range(20)]
    assert mutants == [reader.mutant(7, number) for number in range(20)]
    assert len({*mutants, *reader.seeds}) > 15


def unruly(what):
    def read(folder, number):
        what()

    return dataclasses.replace(READERS["COCO json"], read=read)


def test_another_error_a_wait_and_an_error_for_memory_are_alarms(folder, monkeypatch):
    def wait():
        try:
            time.sleep(5)
        except Exception:  # as the code does that guards against Pillow
            raise DatasetError("cannot be read") from None

    def stuck_in_c():
        sum(range(10**7))

    def out_of_memory():
        raise DatasetError("a.png cannot be read: MemoryError")

    monkeypatch.setattr("helpers.mutate.SECONDS", 0.05)
    for what, told in [
        (lambda: {}["missing"], "KeyError"),
        (wait, "TooSlow: more than 0.05 s"),
        (stuck_in_c, "TooSlow"),
        (out_of_memory, "MemoryError"),
    ]:
        assert told in run(unruly(what), folder, b"{}")
    assert run(unruly(lambda: None), folder, b"{}") == "read"


def test_the_nightly_target_ends_with_a_table(tmp_path):
    script = Path(__file__).parent.parent.parent / "ci" / "fuzz"
    command = [sys.executable, str(script), "--files", "36", "--reader", "COCO json", "--keep", str(tmp_path / "kept")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert head.split()[:4] == ["reader", "mutants", "read", "refused"]
    for name, row in zip(("COCO json", "all"), rows):
        mutants, read, refused, failed = map(int, row.removeprefix(name).split()[:4])
        assert (mutants, read + refused, failed) == (36, 36, 0)
    assert not (tmp_path / "kept").exists()


# ---- the same by hypothesis: files of the right form with any values in it

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(0, 60),
    st.floats(),
    st.floats(0, 60),
    st.text(max_size=5),
    st.sampled_from(["1", "images/train", "..", "~", "a\0b", "x" * 300]),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner))


def objects(**keys):
    """Dicts that have some of these keys."""
    return st.fixed_dictionaries({}, optional={key: values | VALUES for key, values in keys.items()})


IDS = st.integers(0, 3) | st.sampled_from(["1", 1.0, None])
SEGMENTATIONS = st.lists(st.lists(st.integers(0, 60), max_size=8)) | objects(
    size=st.lists(st.integers(-1, 60), max_size=3),
    counts=st.lists(st.integers(-1, 60)) | st.text("0123PQRSn", max_size=9),
)
COCO_FILES = st.fixed_dictionaries(
    {
        "images": st.lists(objects(id=IDS, width=st.integers(0, 90), height=st.integers(1, 90)), max_size=4) | VALUES,
        "annotations": st.lists(
            objects(
                image_id=IDS,
                category_id=IDS,
                bbox=st.lists(SCALARS, min_size=3, max_size=5),
                segmentation=SEGMENTATIONS,
                iscrowd=SCALARS,
            ),
            max_size=6,
        )
        | VALUES,
    },
    optional={"categories": st.lists(objects(id=IDS, name=st.text(max_size=4)), max_size=4) | VALUES},
)
YAML_FILES = objects(
    path=st.sampled_from([".", "..", "images", ""]),
    train=st.sampled_from(["images/train", "list.txt", "../d/images/train", ["list.txt", "images"]]),
    val=VALUES,
    nc=st.integers(),
    names=st.lists(SCALARS) | st.dictionaries(st.integers(-1, 3) | SCALARS.filter(lambda x: x == x), SCALARS),
    kpt_shape=st.lists(st.integers(-1, 9), max_size=3),
)
TAGS = "annotation object bndbox robndbox polygon x1 y1 angle xmin ymin xmax ymax size width".split()  # noqa: SIM905
TAGS += ["height", "name", "filename", "part"]
TEXTS = st.one_of(st.integers(-5, 200).map(str), st.floats().map(repr), st.text("<&;>\"'x 1.\0\ud7ff", max_size=4))
XML_FILES = st.recursive(
    TEXTS,
    lambda inner: st.lists(st.tuples(st.sampled_from(TAGS), inner), max_size=5).map(
        lambda parts: "".join(f"<{tag}>{text}</{tag}>" for tag, text in parts)
    ),
    max_leaves=30,
).map(lambda text: f"<annotation>{text}</annotation>")
SIDES = objects(**dict.fromkeys("x y width height".split(), st.floats(0, 60)))  # noqa: SIM905
POINTS = st.lists(st.lists(st.floats(0, 60) | SCALARS, min_size=2, max_size=2), max_size=4)
SHAPES = st.lists(objects(label=SCALARS, points=POINTS, shape_type=st.sampled_from(["circle", "point", "polygon"])))
LABELME = objects(shapes=SHAPES, imagePath=SCALARS, imageWidth=st.integers(0, 90), imageHeight=st.integers(0, 90))
CREATEML = st.lists(
    objects(image=st.just("a.png"), annotations=st.lists(objects(label=SCALARS, coordinates=SIDES), max_size=3)),
    max_size=3,
)
VIA_SHAPES = st.builds(
    lambda shape, name: {**shape, "name": name} if isinstance(shape, dict) else shape,
    SIDES | objects(cx=SCALARS, cy=SCALARS, r=SCALARS, all_points_x=VALUES, all_points_y=VALUES),
    st.sampled_from(["rect", "circle", "ellipse", "polygon", "point"]),
)
VIA = st.dictionaries(
    st.text(max_size=3),
    objects(
        filename=st.just("a.png"),
        regions=st.lists(objects(shape_attributes=VIA_SHAPES, region_attributes=VALUES), max_size=3),
    ),
    max_size=3,
)
RESULTS = st.lists(
    objects(
        type=st.sampled_from(["rectanglelabels", "polygonlabels", "choices"]),
        value=SIDES | objects(points=POINTS, rectanglelabels=st.lists(SCALARS, max_size=2)),
        original_width=st.integers(0, 90),
        original_height=st.integers(1, 90),
    ),
    max_size=3,
)
TASKS = st.lists(
    objects(annotations=st.lists(objects(result=RESULTS), max_size=2), data=objects(image=SCALARS), label=RESULTS),
    max_size=3,
)
CVAT = st.lists(
    st.tuples(
        st.sampled_from(["box", "polygon", "ellipse", "mask", "points"]), *[st.floats(0, 60).map(repr) | TEXTS] * 4
    )
).map(
    lambda items: (
        "<annotations><image width='90' height='80'>"
        + "".join(
            f"<{tag} label='a' "
            + " ".join(f"{key}={quoteattr(text)}" for key, text in zip(CVAT_KEYS[tag], texts))
            + "/>"
            for tag, *texts in items
        )
        + "</image></annotations>"
    )
)
CVAT_KEYS = {
    "box": ["xtl", "ytl", "xbr", "ybr"],
    "polygon": ["points"],
    "ellipse": ["cx", "cy", "rx", "ry"],
    "mask": ["left", "top", "width", "height"],
    "points": ["points"],
}
FIELDS = st.integers(-5, 700).map(str) | st.floats().map(repr) | st.text(max_size=3) | st.just("a.png")


def rows_of(separator, least, most):
    """Lines of some fields."""
    return st.lists(st.lists(FIELDS, min_size=least, max_size=most).map(separator.join), max_size=6).map("\n".join)


LINES = st.lists(
    st.sampled_from(["images/train/a.png", "./images/train/b.png", "../", "/dev/zero", "train = list.txt", "names=~"])
    | st.text(max_size=20),
    max_size=6,
).map("\n".join)
ANY_BYTES = st.binary(max_size=200)


def as_bytes(text):
    return text.encode("utf-8", "surrogatepass")


def as_json(value):
    return json.dumps(value).encode()


def pickles(*values):
    return b"".join(pickle.dumps(value, 2) for value in values)


def with_meta(name, **keys):
    """Make zips of sound arrays with any metadata."""
    members = unpack(READERS[name].seeds[0])
    meta = json.loads(members["meta.json"])
    one = st.one_of(*(st.fixed_dictionaries({key: values}) for key, values in keys.items()))  # all else is sound
    return (one | objects(**keys)).map(
        lambda said: pack({**members, "meta.json": json.dumps({**meta, **said}).encode()})
    )


HELD = st.builds(lambda key, value, stride: {key: {"anchors": value, "stride": stride}, "a.anchors": value},
                 st.sampled_from(["model", "ema", "state_dict"]), VALUES, VALUES)  # fmt: skip
FILES = {
    "YOLO labels": LINES.map(as_bytes) | ANY_BYTES,  # and test_yolo compares rows with a slow parser
    "data.yaml": YAML_FILES.map(lambda content: yaml.safe_dump(content, allow_unicode=True).encode()) | ANY_BYTES,
    "list of images": LINES.map(as_bytes) | ANY_BYTES,
    "darknet .data": LINES.map(as_bytes) | ANY_BYTES,
    "COCO json": COCO_FILES.map(lambda content: json.dumps(content).encode()) | ANY_BYTES,
    "VOC xml": XML_FILES.map(as_bytes) | ANY_BYTES,
    "labels labelme": LABELME.map(as_json) | ANY_BYTES,
    "labels createml": CREATEML.map(as_json) | ANY_BYTES,
    "labels via": VIA.map(as_json) | ANY_BYTES,
    "labels labelstudio": TASKS.map(as_json) | ANY_BYTES,
    "labels cvat": CVAT.map(as_bytes) | ANY_BYTES,
    "labels csv": rows_of(",", 5, 8).map(lambda text: as_bytes("filename,xmin,ymin,xmax,ymax,class\n" + text))
    | ANY_BYTES,
    "labels keras": rows_of(",", 4, 6).map(lambda text: as_bytes(text.replace("a.png,", "imgs/a.png "))) | ANY_BYTES,
    "labels kitti": rows_of(" ", 14, 16).map(as_bytes) | ANY_BYTES,
    "labels visdrone": rows_of(",", 7, 9).map(as_bytes) | ANY_BYTES,
    "labels dota": rows_of(" ", 8, 10).map(as_bytes) | ANY_BYTES,
    "VOC list": LINES.map(as_bytes) | ANY_BYTES,
    "image header": ANY_BYTES,
    "anchors yolo": st.builds(lambda v: yaml.safe_dump({"anchors": v}).encode(), VALUES) | ANY_BYTES,
    "anchors darknet": LINES.map(lambda text: as_bytes("anchors = " + text)) | ANY_BYTES,
    "anchors mmdet": VALUES.map(lambda value: as_bytes(f"x = dict(base_sizes=[{value!r}])")) | ANY_BYTES,
    "anchors paddle": st.tuples(VALUES, VALUES).map(
        lambda pair: json.dumps({"x": {"anchors": pair[0], "anchor_masks": pair[1]}}).encode()
    )
    | ANY_BYTES,
    "anchors json": VALUES.map(lambda value: json.dumps({"anchors": value}).encode()) | ANY_BYTES,
    "anchors text": rows_of(",", 1, 8).map(as_bytes) | ANY_BYTES,
    "label cache": with_meta(
        "label cache",
        paths=st.lists(SCALARS, min_size=8, max_size=8),
        walks=st.lists(st.lists(SCALARS, min_size=3, max_size=3), max_size=2),
        image_names=st.lists(st.text(max_size=3), min_size=2, max_size=4),
        faults=st.lists(st.tuples(st.integers(-9, 9) | SCALARS, *[st.text(max_size=3)] * 4), max_size=3),
        class_names=st.lists(SCALARS),
        n_classes=st.integers(),
        problems=st.lists(st.lists(SCALARS, min_size=6, max_size=6), max_size=3),
        lost_rows=st.integers(),
    )
    | ANY_BYTES,
    "saved sizes": with_meta(
        "saved sizes",
        n_images=st.integers(),
        rows_refused=st.integers(),
        problem_counts=st.dictionaries(st.text(max_size=3), st.integers()),
        imgsz=st.lists(st.integers(), max_size=3),
        resize=SCALARS,
    )
    | ANY_BYTES,
    "torch zip": HELD.map(lambda value: pack({"a/data.pkl": pickle.dumps(value, 2)})) | ANY_BYTES,
    "torch legacy": HELD.map(lambda value: pickles(0x1950A86A20F9469CFC6C, 1001, {}, value, [])) | ANY_BYTES,
    "OneFlow file": HELD.map(lambda value: pickles({"protocol_version": 1, "data": value})) | ANY_BYTES,
    "OneFlow folder": HELD.map(lambda value: pickles({"protocol_version": 1, "data": value})) | ANY_BYTES,
    "OneFlow tensor": st.builds(
        lambda sides, kind: as_bytes(f"shape {{ {' '.join(f'dim: {side}' for side in sides)} }} data_type: {kind}"),
        st.lists(st.integers(), max_size=4),
        st.sampled_from(["kFloat", "kDouble", "kInt64", "kFloat16", "kNone"]),
    )
    | ANY_BYTES,
}


def test_hypothesis_knows_every_reader():
    assert FILES.keys() == READERS.keys()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_values_are_read_or_refused(reader, folder, data):
    outcome = run(reader, folder, data.draw(FILES[reader.name]))
    assert outcome in ("read", "refused"), outcome
