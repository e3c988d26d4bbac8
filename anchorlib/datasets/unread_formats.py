"""Name the formats that are not read, each with what converts it: one table."""

from __future__ import annotations

import os
import re
from typing import NamedTuple, Optional

from anchorlib.datasets.io.file_log import is_folder
from anchorlib.datasets.io.files import IMAGE_SUFFIXES, read_head, walk

_HEAD = 65536  # bytes that are looked at
_MOST_FILES = 100  # of a folder, that are opened
_LOAD = "Load the boxes with the library that wrote it, and pass them to anchorlib.BoxSizes.from_boxes."
_TASK = "labelformat convert --task"
_TO_COCO = "--output-format coco --output-file coco.json."


class _Unread(NamedTuple):
    """Describe a format: what a file of it is, its name and its first 64 KB as regular expressions, what to do."""

    what: str
    name: str
    head: str
    advice: str


def _datumaro(format: str) -> str:
    return f"Convert it: pip install datumaro; datum convert -if {format} -i FOLDER -f coco_instances -o NEW. Pass NEW."


_NUMBER = r"-?[\d.]+"
_NO_COCO = r'\A(?![\s\S]*"images"\s*:)[\s\S]*'
#: The first row that fits is taken. Names are in lower case.
_FORMATS = (
    _Unread("a Parquet file", r"\.parquet$", "",
            'Load it with datasets.load_dataset("parquet", data_files=FILE) of Hugging Face, and pass its boxes to '
            "anchorlib.BoxSizes.from_boxes."),
    _Unread("an Arrow file", r"\.arrow$", "",
            "Load it with datasets.load_from_disk(FOLDER) of Hugging Face, and pass its boxes to "
            "anchorlib.BoxSizes.from_boxes."),
    _Unread("a file of Hugging Face's imagefolder", r"^metadata\.jsonl$", '"file_name"',
            'Load it with datasets.load_dataset("imagefolder", data_dir=FOLDER), and pass its boxes to '
            "anchorlib.BoxSizes.from_boxes."),
    _Unread("a TFRecord file", r"\.(tf)?records?(-\d+-of-\d+)?$", "", _datumaro("tf_detection_api")),
    _Unread("a MATLAB file", r"\.mat$", "",
            "Load it with scipy.io.loadmat, or with h5py if it is of version 7.3, and pass its boxes to "
            "anchorlib.BoxSizes.from_boxes."),
    _Unread("a Labelbox export", r"\.(ndjson|json)$", _NO_COCO + r'"data_row"\s*:',
            f"Convert it: pip install labelformat; {_TASK} object-detection --input-format labelbox --input-file FILE "
            f"--category-names A,B {_TO_COCO}"),
    _Unread("a file of BDD100K", r"\.json$", _NO_COCO + r'"box2d"\s*:',
            "Convert it: pip install bdd100k; python -m bdd100k.label.to_coco -m det -i FILE -o coco.json."),
    _Unread("a file of Cityscapes", r"_polygons\.json$", r'"imgHeight"\s*:', _datumaro("cityscapes")),
    _Unread("a file of Supervisely", r"\.json$", _NO_COCO + r'"(classTitle|geometryType|projectType)"\s*:',
            'Convert it: pip install supervisely; python -c "import supervisely; '
            "supervisely.convert.to_coco('FOLDER', dest_dir='NEW')\". Pass NEW."),
    _Unread("a COCO file of panoptic segments", r"\.json$", r'"segments_info"\s*:',
            "Pass instances_*.json of the same data set. Or convert it: pip install datumaro; datum convert "
            "-if coco_panoptic -i FOLDER -f coco_instances -o NEW. Pass NEW."),
    _Unread("a COCO file of captions", r"\.json$", r'\A(?![\s\S]*"bbox")[\s\S]*"caption"\s*:',
            "It has no boxes: pass instances_*.json of the same data set."),
    _Unread("a file of Datumaro", r"\.json$", _NO_COCO + r'"items"\s*:\s*\[', _datumaro("datumaro")),
    _Unread("a file of VoTT", r"\.json$", _NO_COCO + r'"assets"\s*:', _datumaro("vott_json")),
    _Unread("a file of V7 Darwin", r"\.json$", _NO_COCO + r'"slots"\s*:',
            "Convert it: pip install darwin-py; darwin convert coco FOLDER NEW. Pass NEW."),
    _Unread("a file of FiftyOne", r"\.json$", _NO_COCO + r'"bounding_box"\s*:',
            "Export it: fiftyone.Dataset.from_dir(FOLDER, "
            "dataset_type=fiftyone.types.FiftyOneImageDetectionDataset).export(labels_path='coco.json', "
            "dataset_type=fiftyone.types.COCODetectionDataset)."),
    _Unread("a project of VIA 3", r"\.json$", _NO_COCO + r'"data_format_version"\s*:', _LOAD),
    _Unread("a file of MMDetection", r"\.json$", _NO_COCO + r'"data_list"\s*:', _LOAD),
    _Unread("a SageMaker manifest", r"\.(manifest|jsonl)$", '"source-ref"', _LOAD),
    _Unread("a file of another tool", r"\.(ndjson|jsonl|manifest|pkl|h5)$", "", _LOAD),
    _Unread("a file of WIDER FACE", r"\.txt$", r"\A\S.*\.jpe?g\s*\n\d+\s*\n(-?\d+ ){9}", _datumaro("wider_face")),
    _Unread("a file of MOT", r"\.txt$", rf"\A\d+,-?\d+(,{_NUMBER}){{7,8}}\s*$", _datumaro("mot_seq")),
    _Unread("a list of class names", r"^(_?classes|predefined_classes|labels)\.txt$", r"\A[^\d\W][\w -]*\r?$",
            "Pass the folder that has the images and their labels, or the data.yaml."),
    _Unread("a YOLO label file of one image", r"\.txt$", rf"\A\d+( +{_NUMBER}){{4,}}\s*$",
            "Pass the folder that has the images and their labels, or the data.yaml."),
    _Unread("an image", f"({'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))})$", "",
            "Pass the folder that has the images and their labels."),
    _Unread("a file of a model", r"\.(pt|pth|ckpt|weights|onnx|cfg|py)$", "",
            "Pass the data set here, and the model as --anchors or --out."),
    _Unread("a file of saved sizes", r"\.npz$", "", "Use SizeCounts.load."),
    _Unread("an archive", r"\.zip$", "", "Unpack it first: python -m zipfile -e FILE.zip FOLDER."),
    _Unread("an archive", r"\.(tar|gz|tgz|bz2|xz)$", "", "Unpack it first: python -m tarfile -e FILE FOLDER."),
)  # fmt: skip
_SUFFIXES = (
    *(".parquet", ".arrow", ".jsonl", ".ndjson", ".manifest", ".tfrecord", ".tfrecords", ".record", ".mat", ".json"),
    *(".txt", ".pkl", ".h5", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"),
)
_MASKS = re.compile(r"mask|segmentation|annotation|label|gt", re.IGNORECASE)


def name_unread(path: str) -> Optional[str]:
    """Return a sentence that names the format of a file or folder and says what to do; None if it is not known."""
    if not is_folder(path):
        found = _find([path])
        return found and f"it is {found[1].what}, which is not read. {found[1].advice}"
    found = _find(walk(path, _SUFFIXES)[:_MOST_FILES])
    if found:
        return f"{os.path.relpath(found[0], path)} is {found[1].what}, which is not read. {found[1].advice}"
    images = walk(path, IMAGE_SUFFIXES)[:_MOST_FILES]
    if any(_MASKS.search(os.path.relpath(os.path.dirname(image), path)) for image in images):
        return (
            "its labels seem to be masks, which are not read. Convert them: pip install labelformat; "
            f'{_TASK} instance-segmentation --input-format maskpair --image-glob "images/**/*.jpg" '
            f'--mask-glob "masks/**/*.png" --category-names A,B {_TO_COCO}'
        )
    return "these are images without labels: pass the folder that has both, or its data.yaml." if images else None


def _find(files: list[str]) -> Optional[tuple[str, _Unread]]:
    heads: dict[str, str] = {}
    for row in _FORMATS:
        for file in files:
            if re.search(row.name, os.path.basename(file).lower()):
                if row.head and file not in heads:
                    heads[file] = read_head(file, _HEAD).decode("utf-8", "replace").lstrip("\ufeff")
                if not row.head or re.search(row.head, heads[file], re.MULTILINE):
                    return file, row
    return None
