"""Find the images that labels name, wherever in a data set they are, if the labels do not give the image's size."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Optional

from anchorlib.datasets.io.file_log import FOLDER, look
from anchorlib.datasets.io.files import IMAGE_SUFFIXES, walk

#: Folders in which people keep images next to the folder of the labels, in the order in which they are preferred.
IMAGE_FOLDERS = (
    *("JPEGImages", "images", "Images", "image", "imgs", "img", "train2017", "val2017", "test2017"),
    *("train", "val", "valid", "test", "train2014", "val2014"),
)


def image_folders(folder: str) -> list[str]:
    """Return the folders that may hold the images of labels in `folder`: itself, and the usual ones next to it."""
    parent = os.path.dirname(os.path.abspath(folder))
    return [folder, *(os.path.join(parent, name) for name in IMAGE_FOLDERS)]


class ImageIndex:
    """List the images below some folders once, when the first one is asked for.

    A name in a label file may contain any folders, also those of another machine. Only images below the given folders
    are found, so a label file cannot make the library open other files.
    """

    def __init__(self, folders: Iterable[str]):
        self.folders = list(dict.fromkeys(folders))
        self._paths: Optional[dict[str, list[str]]] = None  # by file name, and by file name without its suffix

    def find(self, name: str, label: str = "") -> Optional[str]:
        """Return the image called `name` (with or without its suffix), or None.

        Of several images, the one whose folders are those of `name` is taken, then the one whose folders are those of
        the file `label`: labels/val/a.xml belongs to images/val/a.jpg.
        """
        if self._paths is None:
            self._paths = self._list()
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        found = self._paths.get(parts[-1].lower(), []) if parts else []
        if len(found) < 2:
            return found[0] if found else None

        folders = label.split(os.sep)[:-1]

        def fits(path: str) -> tuple[int, int, int, int]:
            theirs = path.split(os.sep)[:-1]
            usual = IMAGE_FOLDERS.index(theirs[-1]) if theirs[-1] in IMAGE_FOLDERS else 99
            same_end = _common(folders[::-1], theirs[::-1])
            return _common(parts[-2::-1], theirs[::-1]), same_end, _common(folders, theirs), -usual

        return max(found, key=fits)  # the first one of equals

    def _list(self) -> dict[str, list[str]]:
        paths: dict[str, list[str]] = {}
        for folder in self.folders:
            for path in walk(folder, IMAGE_SUFFIXES) if look(folder) == FOLDER else []:
                name = os.path.basename(path).lower()
                for key in (name, os.path.splitext(name)[0]):
                    paths.setdefault(key, []).append(path)
        return paths


def _common(one: list[str], other: list[str]) -> int:
    """Return how many items two lists have in common at their start."""
    for number, (a, b) in enumerate(zip(one, other)):
        if a != b:
            return number
    return min(len(one), len(other))
