"""The formats of labelling tools: values by hand, what each tool writes, what is wrong, and the cache."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest
from helpers.data_set_kinds import age, everything, outcome
from helpers.other_formats import (
    CVAT_BOX,
    KITTI,
    SAMPLES,
    TF_HEAD,
    createml,
    cvat,
    cvat_image,
    labelme,
    make_sample,
    percent,
    rect,
    shape,
    task,
    via,
    write_file,
)

from anchorlib.datasets import cache as cache_module
from anchorlib.datasets import read_boxes
from anchorlib.datasets.recognition import find_format
from anchorlib.errors import DatasetError

#: format -> sizes and classes of the sample, the kinds of its problems, rows read
EXPECTED = {
    "labelme": ([[100, 200], [200, 100]], ["cat", "dog"], ["ignored", "not a number", "unreadable label"], 4),
    "createml": ([[100, 50]], ["cat"], ["image without size", "not a number"], 3),
    "via": ([[100, 50]], ["cat"], ["ignored", "negative size"], 3),
    "labelstudio": ([[96, 48], [12.8, 9.6]], ["cat"], ["not a number"], 3),
    "cvat": ([[100, 70], [49, 80]], ["cat"], ["ignored", "not a number"], 4),
    "csv": ([[50, 70]], ["cat", "dog"], ["image without size", "not a number"], 3),
    "keras": ([[150, 80], [100, 95]], ["cat", "dog"], ["image without size", "not a number"], 4),
    "kitti": ([[100, 100]] * 2, ["Car"], ["ignored", "wrong number of fields"], 4),
    "visdrone": ([[119, 128], [30, 40]], ["car"], ["ignored", "wrong number of fields"], 4),
    "dota": ([[105, 90], [180, 60]], ["plane", "ship"], ["wrong number of fields"], 3),
}


def read(path, **options):
    """The sizes in pixels of the image, for images that are not larger than 640 x 480."""
    return read_boxes(path, imgsz=640, **options)


def sizes_of(folder, files, path="", **options):
    """The sizes that a data set has, as nested lists."""
    for name, content in files.items():
        write_file(folder / name, content)
    return read_boxes(folder / path, **options).wh.tolist()


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_sample_has_the_sizes_classes_and_problems_that_one_sees_in_it(tmp_path, kind):
    path = make_sample(kind, tmp_path)
    known = find_format(str(path))[0]
    boxes = read_boxes(path, imgsz=(1360, 1360) if kind == "visdrone" else 640)
    sizes, names, problems, rows = EXPECTED[kind]
    if kind == "visdrone":
        sizes = [[119, 128], [30 * 1360 / 640, 40 * 1360 / 640]]
    assert known.name == kind
    np.testing.assert_allclose(boxes.wh, sizes, rtol=1e-6)
    assert list(boxes.class_names) == names
    assert sorted(boxes.count_problems()) == problems
    assert boxes.rows_read == rows == len(boxes) + boxes.rows_refused
    assert everything(read_boxes(path, format=kind)) == everything(read_boxes(path))
    assert everything(read_boxes(path, workers=4)) == everything(read_boxes(path))


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_cache_gives_the_same_and_sees_each_change(tmp_path, kind, monkeypatch):
    reads = []
    noting = cache_module.noting
    monkeypatch.setattr(cache_module, "noting", lambda: reads.append(1) or noting())
    for number, name in enumerate([None, *SAMPLES[kind].files]):
        for verb in ("touch", "delete", "change"):
            folder, cache = tmp_path / f"{number}{verb}", tmp_path / f"{number}{verb}.cache"
            path = make_sample(kind, folder)
            age(folder)
            outcome(path, cache=cache)
            reads.clear()
            if name is not None:
                file = folder / name
                data = file.read_bytes()
                file.unlink()
                if verb != "delete":
                    file.write_bytes(data if verb == "touch" else data[:-3] + b"1")
            try:
                find_format(str(path))
            except DatasetError:
                continue
            assert outcome(path, cache=cache) == outcome(path)
            assert len(reads) == (name is not None), (name, verb)


def test_problems_have_the_file_the_line_or_the_row_and_the_value(tmp_path):
    (tmp_path / "a.csv").write_text(TF_HEAD + "a.jpg,640,480,cat,10,20,60,90\na.jpg,640,480,cat,10,x,60,90\n")
    (problem,) = read(tmp_path / "a.csv").problems
    assert (problem.file, problem.line) == (str(tmp_path / "a.csv"), 3)
    assert problem.value == "a.jpg,640,480,cat,10,x,60,90"
    two = [cvat_image(("box", CVAT_BOX), name=name) for name in ("a.jpg", "b.jpg")]
    (tmp_path / "a.xml").write_text(cvat(*two, cvat_image(("box", CVAT_BOX), ("box", 'xtl="1"'), name="c.jpg")))
    (problem,) = read(tmp_path / "a.xml").problems
    assert problem.message == "shape 2 of c.jpg: expected a box with xtl, ytl, xbr, ybr"


def test_a_box_too_large_for_a_float_is_rejected_without_a_warning(tmp_path):
    write_file(tmp_path / "a.json", labelme([shape([[-1e308, 20], [1e308, 220]]), shape([[1, 2], [3, 4]])]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        boxes = read(tmp_path)
    assert boxes.count_problems() == {"not a number": 1}


# ---- LabelMe


@pytest.mark.parametrize(
    ("item", "size"),
    [
        (shape([[110, 220], [10, 20]]), [100, 200]),  # drawn from the lower right
        (shape([[10, 20], [110, 20], [110, 220], [10, 220]]), [100, 200]),  # LabelMe 5.5 writes four corners
        (shape([[100, 100], [100, 150]], "circle"), [100, 100]),
        (shape([[10, 10], [50, 20], [30, 60]], "polygon"), [40, 50]),
        (shape([[10, 30], [40, 10], [60, 30], [30, 50]], "rotation"), [50, 40]),  # X-AnyLabeling
        (shape([[10, 20], [30, 60]], "mask"), [20, 40]),
    ],
)
def test_labelme_shapes_count_as_their_bounding_box(tmp_path, item, size):
    assert sizes_of(tmp_path, {"a.json": labelme([item])}) == [size]


def test_labelme_has_splits_as_folders_and_an_image_of_megabytes(tmp_path):
    files = {
        "train/a.json": labelme([shape([[0, 0], [10, 20]])], imageData="A" * 200_000),
        "val/b.json": labelme([shape([[0, 0], [30, 40]])]),
    }
    assert sizes_of(tmp_path, files) == [[10, 20]]
    assert read(tmp_path, split="val").wh.tolist() == [[30, 40]]
    assert read(tmp_path, split="all").wh.tolist() == [[10, 20], [30, 40]]
    with pytest.raises(DatasetError, match="looked for the split 'test' as a folder test"):
        read(tmp_path, split="test")


def test_labelme_without_a_size_takes_that_of_the_image(tmp_path):
    files = {
        "a.json": labelme([shape([[0, 0], [10, 20]])], "..\\images\\a.jpg", ("", None)),
        "images/a.jpg": (320, 100),
    }
    assert sizes_of(tmp_path, files) == [[20, 40]]


def test_other_json_files_in_a_folder_of_labelme_are_named(tmp_path):
    boxes_file = labelme([shape([[0, 0], [10, 20]])])
    assert sizes_of(tmp_path, {"a.json": boxes_file, "classes.json": '["cat"]'}) == [[10, 20]]
    (problem,) = read(tmp_path).problems
    assert (problem.kind, problem.action) == ("unreadable label", "left out")


# ---- CreateML, VIA, Label Studio


def test_createml_of_roboflow_is_a_folder_for_each_split(tmp_path):
    files = {
        "train/_annotations.createml.json": json.dumps([createml((50, 50, 10, 20))]),
        "train/a.png": (640, 640),
        "valid/_annotations.createml.json": json.dumps([createml((50, 50, 30, 40))]),
        "valid/a.png": (320, 320),  # the same name in another split
    }
    assert sizes_of(tmp_path, files) == [[10, 20]]
    assert read(tmp_path, split="val").wh.tolist() == [[60, 80]]


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"name": "circle", "cx": 30, "cy": 20, "r": 5}, [10, 10]),
        ({"name": "ellipse", "cx": 30, "cy": 20, "rx": 5, "ry": 2.5}, [10, 5]),
        ({"name": "polygon", "all_points_x": [1, 9, 4], "all_points_y": [2, 3, 8]}, [8, 6]),
    ],
)
def test_via_shapes_count_as_their_bounding_box(tmp_path, item, size):
    assert sizes_of(tmp_path, {"a.json": via(item), "a.png": (640, 480)}) == [size]


def test_via_1_projects_and_csv_are_read(tmp_path):
    whole = json.loads(via(rect(10, 20, 100, 50)))
    image = next(iter(whole.values()))
    image["regions"] = {"0": image["regions"][0]}
    image["regions"]["0"]["region_attributes"] = {"kind": {"dog": True}}
    assert sizes_of(tmp_path, {"1.json": json.dumps({"_via_img_metadata": whole}), "a.png": (640, 480)}) == [[100, 50]]
    assert read(tmp_path / "1.json").class_names == ("dog",)
    attributes = '"{""name"":""rect"",""x"":10,""y"":20,""width"":30,""height"":50}"'
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    (tmp_path / "via.csv").write_text(head + f'a.png,12,{{}},1,0,{attributes},"{{""type"":""cat""}}"\n')
    assert read(tmp_path / "via.csv").wh.tolist() == [[30, 50]]
    assert read(tmp_path / "via.csv").class_names == ("cat",)


def test_label_studio_takes_the_last_annotation_that_counts(tmp_path):
    first, second = task(percent(0, 0, 10, 10)), task(percent(0, 0, 20, 20))
    cancelled = task(percent(0, 0, 50, 50), was_cancelled=True)
    whole = {**first, "annotations": [item["annotations"][0] for item in (first, second, cancelled)]}
    unlabelled = {"id": 7, "annotations": [], "data": {"image": "/data/local-files/?d=b.jpg"}}
    relation = {"type": "relation", "from_id": "a", "to_id": "b"}
    whole["annotations"][1]["result"].append(relation)
    assert sizes_of(tmp_path, {"a.json": json.dumps([whole, unlabelled])}) == [[128, 96]]
    assert len(read(tmp_path / "a.json").image_names) == 1


def test_label_studio_min_is_read(tmp_path):
    value = {**percent(0, 0, 50, 25), "rectanglelabels": ["dog"], "original_width": 640, "original_height": 480}
    content = [{"image": "/data/upload/a.jpg", "id": 1, "label": [value], "annotator": 1}]
    assert sizes_of(tmp_path, {"a.json": json.dumps(content)}) == [[320, 120]]
    assert read(tmp_path / "a.json").class_names == ("dog",)


# ---- CVAT


@pytest.mark.parametrize(
    ("item", "size"),
    [
        (("box", CVAT_BOX + ' rotation="90.0"'), [70, 100]),
        (("ellipse", 'cx="30" cy="20" rx="9" ry="5"'), [18, 10]),
        (("mask", 'rle="1,2" left="5" top="6" width="30" height="20"'), [30, 20]),
        (("polygon", 'points="1.5,1;50.5,1;20,80"'), [49, 79]),
    ],
)
def test_cvat_shapes_count_as_their_bounding_box(tmp_path, item, size):
    assert sizes_of(tmp_path, {"annotations.xml": cvat(cvat_image(item))}) == [size]


def test_cvat_projects_have_subsets_and_videos_have_tracks(tmp_path):
    whole = cvat(
        cvat_image(("box", CVAT_BOX), more='subset="Train"'),
        cvat_image(("ellipse", 'cx="30" cy="20" rx="9" ry="5"'), more='subset="Validation"'),
    )
    assert sizes_of(tmp_path, {"annotations.xml": whole}) == [[100, 70]]
    assert read(tmp_path, split="val").wh.tolist() == [[18, 10]]
    with pytest.raises(DatasetError, match="looked for the subset 'test', found Train, Validation"):
        read(tmp_path, split="test")
    video = SAMPLES["cvat"].more[1]
    assert sizes_of(tmp_path, {"annotations.xml": video}) == [[100, 70]]  # the second one is outside


def test_a_harmful_declaration_in_cvat_is_refused(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]>' + cvat(cvat_image(("box", CVAT_BOX))).partition("\n")[2]
    with pytest.raises(DatasetError, match="harmful declaration"):
        sizes_of(tmp_path, {"annotations.xml": bomb})


# ---- tables


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("a.png,10,20,40,60,cat\nb.png,,,,,\n", [[30, 40]]),  # RetinaNet: no names of columns
        ("image_id;width;height;bbox\na.png;640;480;[10, 20, 30, 40]\n", [[30, 40]]),  # Kaggle
        ("image_id,x,y,w,h,class\na,10,20,30,40,cat\n", [[30, 40]]),
        ("image,x,y,width,height\na,10,20,30,40\n", [[30, 40]]),  # the box's own sides
        ("img_path,x_min,y_min,x_max,y_max,label\nC:\\x\\a.png,10,20,40,60,cat\n", [[30, 40]]),
        ("image,xmin,ymin,xmax,ymax,label\na.png,10,20,40,60,cat\n", [[30, 40]]),  # VoTT
        ("\ufeffFileName,Width,Height,Class,XMin,YMin,XMax,YMax\na.png,640,480,cat,10,20,40,60\n", [[30, 40]]),
        ("ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\na,/m/1,0.25,0.5,0,0.5,0\na,/m/1,0,1,0,1,1\n", [[160, 240]]),
    ],
)
def test_tables_of_any_columns_are_read(tmp_path, text, sizes):
    files = {"a.csv": text, "images/a.png": (640, 480), "images/b.png": (640, 480)}
    assert sizes_of(tmp_path, files, "a.csv") == sizes


def test_tables_may_be_utf_16_as_excel_writes_them(tmp_path):
    text = TF_HEAD.replace(",", "\t") + "a.png\t640\t480\tcat\t10\t20\t40\t60\n"
    assert sizes_of(tmp_path, {"a.csv": text.encode("utf-16")}) == [[30, 40]]
    with pytest.raises(DatasetError, match="is not UTF-8; save the file as UTF-8"):
        sizes_of(
            tmp_path,
            {"a.csv": (TF_HEAD + "狗.jpg,640,480,cat,10,20,40,60\n").encode("gbk")},
            format="csv",
            path="a.csv",
        )


def test_a_table_in_each_split_is_read(tmp_path):
    row = "a.png,640,480,cat,10,20,{},60\n"
    files = {f"{name}/_annotations.csv": TF_HEAD + row.format(x) for name, x in (("train", 40), ("valid", 50))}
    assert sizes_of(tmp_path, files) == [[30, 40]]
    assert read(tmp_path, split="val").wh.tolist() == [[40, 40]]
    assert read(tmp_path, split="all").wh.tolist() == [[30, 40], [40, 40]]
    with pytest.raises(DatasetError, match="looked for a .csv with boxes for the split 'test'"):
        read(tmp_path, split="test")


def test_a_table_without_boxes_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="got a .csv file"):
        sizes_of(tmp_path, {"a.csv": "epoch,loss\n1,2\n"}, "a.csv")
    with pytest.raises(DatasetError, match="expected columns for the image"):
        read_boxes(tmp_path / "a.csv", format="csv")


# ---- text files


def test_kitti_dota_and_visdrone_are_recognised_by_their_rows(tmp_path):
    samples = {"kitti": KITTI, "dota": "1 2 30 2 30 40 1 40 ship 0\n", "visdrone": "1,2,30,40,1,4,0,0\n"}
    for kind, text in samples.items():
        folder = tmp_path / kind
        write_file(folder / "labels" / "a.txt", text)
        write_file(folder / "images" / "a.jpg", (640, 480))
        for path in (folder, folder / "labels"):
            assert find_format(str(path))[0].name == kind
            assert len(read(path)) == 1
    write_file(folder / "data.yaml", "train: images\nnames: [a]\n")
    assert find_format(str(folder))[0].name == "yolo"  # what the user says counts


def test_a_list_of_keras_finds_images_of_another_machine(tmp_path):
    files = {"l.txt": "D:\\data\\imgs\\a.png 10,20,40,60,0\n/old/b c.png 1,2,3,8,car 5,5,9,9,0\n"}
    files |= {"imgs/a.png": (640, 640), "imgs/b c.png": (640, 640)}
    assert sizes_of(tmp_path, files, "l.txt") == [[30, 40], [2, 6], [4, 4]]
    assert read(tmp_path / "l.txt").class_names == ("0", "car")


# ---- folders


def test_the_only_file_with_labels_in_a_folder_is_found(tmp_path):
    assert sizes_of(tmp_path, {"project.json": via(rect(10, 20, 100, 50)), "a.png": (640, 480)}) == [[100, 50]]
    shutil.copy(tmp_path / "project.json", tmp_path / "second.json")
    with pytest.raises(
        DatasetError, match=r"several files or folders with labels \(project.json, second.json\). Pass the one"
    ):
        read(tmp_path)


def test_images_that_are_nowhere_are_named_once_each(tmp_path):
    with pytest.raises(
        DatasetError, match="'a.png' is not known: CreateML files do not have it, so the image must be in or next"
    ):
        sizes_of(tmp_path, {"a.json": json.dumps([createml((9, 9, 3, 4))])})
    boxes = read_boxes(tmp_path, allow_empty=True)
    assert (boxes.rows_read, boxes.rows_refused, len(boxes.problems)) == (1, 1, 1)


def test_a_damaged_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    write_file(tmp_path / "set.json", json.dumps([createml((9, 9, 3, 4))]))
    (problem,) = read_boxes(tmp_path, allow_empty=True).problems
    assert (problem.kind, os.path.basename(problem.file)) == ("unreadable image", "a.png")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("centres", "image,class,x_center,y_center,width,height\na.jpg,x,60,45,100,50\n"),
        ("centres in fractions", "image_id;xc;yc;w;h;label\na;0,09375;0,09375;0,15625;0,104166666666666667;x\n"),
        ("decimal commas", "filename;class;xmin;ymin;xmax;ymax\na.jpg;x;10,5;20,0;110,5;70,0\n"),
        ("AutoML", "TRAIN,gs://b/a.jpg,x,0.1,0.125,,,0.25625,0.229166666666666667,,\n"),
    ],
)
def test_tables_with_centres_decimal_commas_or_of_automl_are_read(tmp_path, kind, text):
    files = {"a.csv": text, "a.jpg": (640, 480)}
    np.testing.assert_allclose(sizes_of(tmp_path, files, "a.csv"), [[100, 50]], rtol=1e-6)


def test_turned_shapes_of_label_studio_count_as_their_bounding_box(tmp_path):
    turned = [{**percent(50, 50, 10, 10), "rotation": angle} for angle in (0, 90, 30)]
    ellipses = [{"x": 50, "y": 50, "radiusX": 10, "radiusY": 5, "rotation": angle} for angle in (0, 90)]
    tasks = [task(*turned), task(*ellipses, kind="ellipselabels")]
    cos, sin = np.cos(np.pi / 6), 0.5
    wanted = [[64, 48], [48, 64], [64 * cos + 48 * sin, 64 * sin + 48 * cos], [128, 48], [48, 128]]
    sizes = sizes_of(tmp_path, {"p.json": json.dumps(tasks)}, "p.json")
    np.testing.assert_allclose(sizes, wanted, rtol=1e-6)
    no_size = task(turned[2], size=("0", None))
    files = {"q.json": json.dumps([no_size, tasks[0]]), "a.jpg": (640, 480)}
    assert len(sizes_of(tmp_path, files, "q.json")) == 3
