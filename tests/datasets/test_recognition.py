"""A data set's format is recognised by the names of its files, or named by the user."""

import json
import shutil

import pytest
from helpers.data_set_kinds import KINDS, everything, make
from helpers.other_formats import SAMPLES, write_file
from helpers.slow_counts import make_voc, voc_object

from anchorlib.datasets import read_boxes
from anchorlib.datasets.formats import FORMATS
from anchorlib.datasets.recognition import find_format
from anchorlib.errors import BadValueError, DatasetError


def test_the_table_and_the_test_data_have_the_same_formats():
    assert {known.name for known in FORMATS} == {*KINDS, *SAMPLES}


@pytest.mark.parametrize("kind", KINDS)
def test_a_format_is_recognised_and_may_be_named(tmp_path, kind):
    path = make(kind, tmp_path / "set")
    assert find_format(str(path))[0].name == kind
    assert everything(read_boxes(path, format=kind)) == everything(read_boxes(path))


@pytest.mark.parametrize(("kind", "name"), [("yolo", "data.txt"), ("coco", "labels"), ("darknet", "data.cfg")])
def test_a_file_of_a_named_format_may_have_any_suffix(tmp_path, kind, name):
    path = make(kind, tmp_path / "set")
    path = path / "data.yaml" if path.is_dir() else path
    other = path.with_name(name)
    shutil.copy(path, other)
    sizes = read_boxes(other, format=kind)
    assert sizes.wh.tolist() == read_boxes(path).wh.tolist()


def test_a_folder_with_two_formats_is_read_as_the_one_that_is_named(tmp_path):
    path = make("yolo", tmp_path / "set")
    make_voc(tmp_path / "set", voc_object(1, 1, 9, 9))
    folder = path if path.is_dir() else path.parent
    assert find_format(str(folder))[0].name == "yolo"
    assert len(read_boxes(folder, format="voc")) == 1
    with pytest.raises(
        DatasetError, match=r"expected a COCO \.json file or a folder of them \(coco\); got a folder with"
    ):
        read_boxes(folder, format="coco")


def test_a_wrong_name_of_a_format_shows_the_right_ones(tmp_path):
    with pytest.raises(BadValueError, match="format must be one of kitti, .*, got 'VOC'"):
        read_boxes(tmp_path, format="VOC")


def test_an_empty_folder_and_a_file_without_suffix_are_named_as_such(tmp_path):
    with pytest.raises(DatasetError, match="got an empty folder"):
        read_boxes(tmp_path)
    (tmp_path / "labels").write_text("")
    with pytest.raises(DatasetError, match="got a file without a suffix"):
        read_boxes(tmp_path / "labels")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "export.zip",
            r"it is an archive, which is not read\. Unpack it first: python -m zipfile -e FILE\.zip FOLDER\.",
        ),
        ("VOC2007.tar", "python -m tarfile -e FILE FOLDER"),
        ("train.tfrecord-00000-of-00002", "a TFRecord file, which .* datum convert -if tf_detection_api -i FOLDER"),
        ("train.parquet", r'a Parquet file, .* datasets\.load_dataset\("parquet", data_files=FILE\)'),
        ("digitStruct.mat", r"a MATLAB file, .* scipy\.io\.loadmat"),
        ("a.jpg", "an image, .* Pass the folder that has the images and their labels"),
    ],
)
def test_a_file_that_is_not_read_comes_with_what_to_do(tmp_path, name, told):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(DatasetError, match=told):
        read_boxes(tmp_path / name)


ROW = "0 0.5 0.5 0.25 0.5\n"

#: file, content, what the message says
UNREAD = [
    (
        "ann/a.jpg.json",
        '{"size": {"height": 6, "width": 8}, "objects": [{"classTitle": "x"}]}',
        "Supervisely, .*to_coco",
    ),
    (
        "bdd100k.json",
        '[{"name": "a.jpg", "labels": [{"box2d": {"x1": 1}}]}]',
        "BDD100K, .*bdd100k.label.to_coco -m det",
    ),
    ("a_gtFine_polygons.json", '{"imgHeight": 6, "objects": []}', "Cityscapes, .*datum convert -if cityscapes"),
    (
        "panoptic.json",
        '{"images": [], "annotations": [{"segments_info": [{"bbox": [1]}]}]}',
        "COCO file of panoptic .*instances_",
    ),
    (
        "captions.json",
        '{"images": [], "annotations": [{"caption": "a dog"}]}',
        "COCO file of captions, .*no boxes: pass instances_",
    ),
    ("default.json", '{"info": {}, "categories": {}, "items": [{"id": "1"}]}', "Datumaro, .*-if datumaro"),
    ("vott.json", '{"name": "p", "assets": {}}', "VoTT, .*-if vott_json"),
    ("darwin.json", '{"item": {"slots": []}, "annotations": []}', "V7 Darwin, .*darwin convert coco FOLDER NEW"),
    ("labels.json", '{"classes": [], "labels": {"1": [{"bounding_box": [0]}]}}', "FiftyOne, .*COCODetectionDataset"),
    ("via3.json", '{"project": {"data_format_version": "3.1.1"}}', "VIA 3, .*from_boxes"),
    ("mmdet.json", '{"metainfo": {}, "data_list": []}', "MMDetection, .*from_boxes"),
    ("out.manifest", '{"source-ref": "s3://b/a.jpg"}', "SageMaker manifest, .*from_boxes"),
    ("out.ndjson", '{"data_row": {"id": "x"}}', "Labelbox export, .*--input-format labelbox --input-file FILE"),
    ("metadata.jsonl", '{"file_name": "a.jpg"}', r"imagefolder, .*load_dataset\(\"imagefolder\""),
    ("bbx_gt.txt", "0--P/a.jpg\n1\n1 2 30 40 2 0 0 0 0 0 \n", "WIDER FACE, .*-if wider_face"),
    ("gt/gt.txt", "1,1,10,20,100,50,1,1,0.8\n2,1,10,20,100,50,1,1,0.8\n", "MOT, .*-if mot_seq"),
    ("labels/a.txt", ROW, "YOLO label file of one image, .*Pass the folder that has the images"),
    ("classes.txt", "cat\nlarge dog\n", "list of class names, .*Pass the folder that has the images"),
    ("set.zip", "PK", "archive, .*Unpack it first"),
]


@pytest.mark.parametrize(("name", "content", "told"), UNREAD, ids=lambda value: str(value)[:20])
def test_a_format_that_is_not_read_is_named_with_what_converts_it(tmp_path, name, content, told):
    write_file(tmp_path / name, content)
    with pytest.raises(DatasetError, match=f"it is an? .*{told}"):
        read_boxes(tmp_path / name)
    if "COCO" not in told:  # a folder with it is taken for one of COCO
        with pytest.raises(DatasetError, match=f"{name} is an? .*{told}"):
            read_boxes(tmp_path)


def test_a_list_of_images_and_coco_with_foreign_keys_are_not_taken_for_other_formats(tmp_path):
    write_file(tmp_path / "a.jpg", (640, 480))
    write_file(tmp_path / "a.txt", ROW)
    write_file(tmp_path / "labels.txt", '"./a.jpg"\n')  # quotes, as a shell on Windows writes paths with spaces
    assert read_boxes(tmp_path / "labels.txt").wh.tolist() == [[160, 240]]
    more = {"bounding_box": 1, "slots": 1, "assets": 1, "data_list": 1, "items": [], "caption": "x"}
    image = {"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}
    box = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40], **more}
    coco = {"info": more, "images": [image], "annotations": [box], "categories": [{"id": 1, "name": "x"}]}
    write_file(tmp_path / "a.json", json.dumps(coco))
    assert read_boxes(tmp_path / "a.json").wh.tolist() == [[30, 40]]


def test_a_folder_of_masks_and_one_of_images_alone_are_named(tmp_path):
    write_file(tmp_path / "images" / "a.jpg", (64, 48))
    with pytest.raises(DatasetError, match="these are images without labels: pass the folder that has both"):
        read_boxes(tmp_path)
    write_file(tmp_path / "masks" / "a.png", (64, 48))
    with pytest.raises(DatasetError, match="labels seem to be masks, .*--input-format maskpair"):
        read_boxes(tmp_path)


def test_a_data_set_in_folders_below_is_found_and_of_several_the_user_chooses(tmp_path):
    write_file(tmp_path / "VisDrone2019-DET-train" / "annotations" / "a.txt", "255,22,119,128,1,4,0,1\n")
    write_file(tmp_path / "VisDrone2019-DET-train" / "images" / "a.jpg", (640, 480))
    assert read_boxes(tmp_path).wh.tolist() == [[119, 128]]
    for split in ("train", "valid"):
        write_file(tmp_path / "other" / split / "_annotations.txt", "a.jpg 10,20,110,70,0\n")
        write_file(tmp_path / "other" / split / "a.jpg", (640, 480))
    told = r"has several files or folders with labels \(train/_annotations.txt, valid/_annotations.txt\)"
    with pytest.raises(DatasetError, match=told):
        read_boxes(tmp_path / "other")
    both = [tmp_path / "other" / split / "_annotations.txt" for split in ("train", "valid")]
    assert read_boxes(both).wh.tolist() == [[100, 50]] * 2
