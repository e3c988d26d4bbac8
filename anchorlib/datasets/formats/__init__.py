"""Label formats: one module for each format, and the table of all formats.

To add a format, write a module in this folder with two functions, and add a row to `FORMATS`:

``find_NAME(path)``
    Return the path that `read_NAME` takes if `path` (a file or folder that exists) looks like this format, else None.
    Look at the names of files and folders first. Open a file only if the names do not decide.
``read_NAME(path, split, progress, workers)``
    Read one split, or all of them ('all'), and return `Labels`. Report what is wrong with a row as a `Fault`, and what
    is wrong with an image or a file as a `Problem`. Raise DatasetError only if there is nothing to read.
    Open every file with `read_text` or `read_json`, many files with `in_order(read_or_error, files, ...)`, or call what
    these call, `read_logged` or `open_logged`: so the cache notices when a file changes.

Everything else (the checks of values, duplicate rows, scaling, the cache) is the same for all formats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from anchorlib.datasets.formats.coco_folder import find_coco, read_coco
from anchorlib.datasets.formats.createml import find_createml, read_createml
from anchorlib.datasets.formats.csv_table import find_csv, read_csv
from anchorlib.datasets.formats.cvat import find_cvat, read_cvat
from anchorlib.datasets.formats.darknet import find_darknet, read_darknet
from anchorlib.datasets.formats.dota import find_dota, read_dota
from anchorlib.datasets.formats.keras_list import find_keras_list, read_keras_list
from anchorlib.datasets.formats.kitti import find_kitti, read_kitti
from anchorlib.datasets.formats.label_studio import find_label_studio, read_label_studio
from anchorlib.datasets.formats.labelme import find_labelme, read_labelme
from anchorlib.datasets.formats.via import find_via, read_via
from anchorlib.datasets.formats.visdrone import find_visdrone, read_visdrone
from anchorlib.datasets.formats.voc import find_voc, read_voc
from anchorlib.datasets.formats.yolo import find_yolo, read_yolo
from anchorlib.datasets.validation import Labels


@dataclass(frozen=True)
class Format:
    """One label format: its name, how it is recognised, how it is read.

    Attributes
    ----------
    name : the value of `read_boxes(format=...)`
    looks_like : what users pass for this format, in words, for error messages
    find : returns the path to read, or None if a path does not look like this format
    read : reads the labels of that path: (path, split, progress, workers)
    """

    name: str
    looks_like: str
    find: Callable[[str], Optional[str]]
    read: Callable[[str, str, bool, int], Labels]


TEXT_FOLDERS = ("kitti", "dota", "visdrone")  # formats that are recognised in a folder of .txt files

#: All formats. The first one that finds something to read is taken, so a format that looks closely comes early.
FORMATS = (
    Format("kitti", "a folder of KITTI's .txt files", find_kitti, read_kitti),
    Format("dota", "a folder of DOTA's .txt files", find_dota, read_dota),
    Format("visdrone", "a folder of VisDrone's .txt files", find_visdrone, read_visdrone),
    Format("yolo", "a data.yaml or the folder with it", find_yolo, read_yolo),
    Format("cvat", "CVAT's annotations.xml", find_cvat, read_cvat),
    Format("voc", "a folder of Pascal VOC .xml files", find_voc, read_voc),
    Format("labelme", "LabelMe's .json files or their folder", find_labelme, read_labelme),
    Format("createml", "CreateML's .json file", find_createml, read_createml),
    Format("labelstudio", "Label Studio's .json export", find_label_studio, read_label_studio),
    Format("via", "VIA's .json export", find_via, read_via),
    Format("csv", "a .csv with a box in each row", find_csv, read_csv),
    Format("coco", "a COCO .json file or a folder of them", find_coco, read_coco),
    Format("keras", "a list of images with their boxes", find_keras_list, read_keras_list),
    Format("darknet", "a .data file or a .txt list of images", find_darknet, read_darknet),
)
