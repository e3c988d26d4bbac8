"""Report the problems of a data set: text that says what to do for people, a dict for machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Optional

from anchorlib.datasets import BoxSizes, Problem
from anchorlib.results import grouped, printable

#: kind of Problem -> what to do about it
ADVICE = {
    "wrong number of fields": "Complete or delete these rows; the tool that wrote them may use another format.",
    "not a number": "Correct or delete these rows.",
    "not a class": "Write the class as an integer.",
    "negative size": "Swap the corners, or delete these rows.",
    "out of [0, 1]": "Correct or delete these rows. YOLO rows are fractions of the image: divide pixels by its size.",
    "duplicate row": "Delete the duplicates: they would count twice in training.",
    "crowd": "Do nothing: crowds are left out on purpose.",
    "ignored": "Do nothing: ignored annotations are left out on purpose.",
    "out of bounds": "Clip these boxes to the image. Many such boxes mean that the labels are for another image size.",
    "zero area": "Delete these rows: training cannot learn a box without area, and fits leave it out.",
    "class out of range": "Correct the class, or the class names in the data set's own file.",
    "missing label": "Do nothing if these images show no object; otherwise find their labels.",
    "missing image": "Put the images where the labels expect them (in COCO: correct image_id), or delete their rows.",
    "unreadable image": "Replace these images: training cannot read them either.",
    "unreadable label": "Replace these files.",
    "unreadable path": "Correct the permissions, or the disk, and read again: labels in these places are missing here.",
    "image without size": "Add the width and height of the image to its labels; without them its boxes have no size.",
    "exif rotation": "Do nothing if the labels were drawn on the rotated image; otherwise save it without EXIF.",
    "path": "Correct the path, or move the files, if training has to find them as well.",
    "tiny boxes": "If they are fractions of the image, multiply them by its width and height.",
    "no boxes": "Pass the folder or file that has the boxes.",
    "rotated box": "Do nothing: YOLO trains on upright boxes. If the line names the unit of the angles, check it.",
    "landmarks": "Write kpt_shape into the .yaml, or if these are polygons, nothing: check a few of their boxes.",
    "encoding": "Save these files as UTF-8; the boxes were read, but names may be wrong.",
}
KINDS = tuple(ADVICE)
ON_PURPOSE = ("crowd", "ignored")
SHOWN = 3  # problems of each kind in the summary
CLASSES_SHOWN = 12


@dataclass(frozen=True)
class LabelReport:
    """Summarise what a data set contains and what is wrong with it.

    data, split : as given to `read_boxes`
    boxes : BoxSizes as read, with the problems
    """

    data: str
    split: str
    boxes: BoxSizes

    @property
    def lost(self) -> list[Problem]:
        """Return the problems that lose a row, an image or a split, without those left out on purpose."""
        left_out = [p.kind not in ON_PURPOSE and p.action == "left out" for p in self.boxes.problems]
        return [p for p, is_left_out in zip(self.boxes.problems, left_out) if p.costs or is_left_out]

    @property
    def failed(self) -> bool:
        """Return True if something is lost, or if there is not a single box."""
        return bool(self.lost) or not len(self.boxes)

    @property
    def images_lost(self) -> int:
        """Return how many images were found but could not be used."""
        problems = self.boxes.problems
        return sum(p.action == "image refused" or (p.kind, p.action) == ("missing label", "left out") for p in problems)

    def refused(self) -> dict[str, int]:
        """Return the refused rows by kind of problem; rows of lost images are counted as 'of lost images'."""
        single = [p.kind for p in self.boxes.problems if p.action == "row refused" or p.kind in ON_PURPOSE]
        counts = dict(Counter(single).most_common())
        # A problem of an image counts for all its rows, which were not read.
        others = self.boxes.rows_refused - sum(counts.values())
        return {"of lost images": others, **counts} if others else counts

    def by_class(self) -> list[tuple[str, int]]:
        """Return (name or number, boxes) of each class in order, including classes without a box."""
        boxes = Counter(self.boxes.classes.tolist())
        names = dict(enumerate(self.boxes.class_names))
        return [(names.get(number, str(number)), boxes[number]) for number in sorted({*boxes, *names})]

    def unnamed(self) -> list[int]:
        """Return the classes that have boxes, but no name although the data set has names."""
        names = self.boxes.class_names
        return [number for number in sorted(set(self.boxes.classes.tolist())) if names and not 0 <= number < len(names)]

    @property
    def images_without_boxes(self) -> int:
        """Return how many images were read that have no box."""
        return len(self.boxes.image_wh) - len(set(self.boxes.image_index.tolist()))

    def of_kind(self, kind: Optional[str]) -> list[Problem]:
        """Return the problems of one kind, or all problems for None."""
        return [problem for problem in self.boxes.problems if kind in (None, problem.kind)]

    def to_dict(self, kind: Optional[str] = None) -> dict[str, Any]:
        """Return one JSON object with all problems, or those of one kind; its counts cover all kinds."""
        boxes = self.boxes
        return {
            "data": self.data,
            "split": self.split,
            "lost": self.failed,
            "images": len(boxes.image_wh),
            "images_without_boxes": self.images_without_boxes,
            "images_lost": self.images_lost,
            "rows_read": boxes.rows_read,
            "boxes": len(boxes),
            "rows_refused": boxes.rows_refused,
            "refused": self.refused(),
            "classes": [{"class": name, "boxes": count} for name, count in self.by_class()],
            "classes_without_name": self.unnamed(),
            "counts": boxes.count_problems(),
            "problems": [asdict(problem) for problem in self.of_kind(kind)],
        }

    def to_text(self) -> str:
        """Return a summary: sums of images and rows, then each kind of problem with examples and what to do."""
        costly = {problem.kind for problem in self.lost}
        kinds = sorted(self.boxes.count_problems(), key=lambda kind: kind not in costly)  # then by frequency
        return "\n\n".join([self._sums(), *map(self._kind_text, kinds), self._verdict()])

    def _sums(self) -> str:
        boxes, refused = self.boxes, self.refused()
        images = f"{grouped(len(boxes.image_wh))} read"
        images += _if(self.images_without_boxes, "{} of them without boxes") + _if(self.images_lost, "{} lost")
        rows = f"{grouped(boxes.rows_read)} read = {grouped(len(boxes))} boxes + {grouped(boxes.rows_refused)} refused"
        lines = [printable(f"{self.data}, split {self.split}"), f"  images   {images}", f"  rows     {rows}"]
        if refused:
            parts = " + ".join(f"{grouped(count)} {kind}" for kind, count in refused.items())
            lines.append(f"  refused  {grouped(boxes.rows_refused)} = {parts}")
        lines.append(f"  classes  {self._classes()}")
        if unnamed := self.unnamed():
            shown = ", ".join(map(str, unnamed[:CLASSES_SHOWN])) + (", ..." if len(unnamed) > CLASSES_SHOWN else "")
            count = len(self.boxes.class_names)
            lines.append(f"  unnamed  {shown}, not in names: names has {count}, from 0 to {count - 1}")
        return "\n".join(lines)

    def _classes(self) -> str:
        classes = self.by_class()
        if len(classes) <= CLASSES_SHOWN:
            return ", ".join(f"{printable(name)} {grouped(count)}" for name, count in classes) or "none"
        most = sorted(classes, key=lambda item: -item[1])[: CLASSES_SHOWN // 2]
        shown = ", ".join(f"{printable(name)} {grouped(count)}" for name, count in most)
        empty = sum(not count for _, count in classes)
        return f"{len(classes)}; most boxes: {shown}" + _if(empty, "{} without a box")

    def _kind_text(self, kind: str) -> str:
        problems = self.of_kind(kind)
        actions = ", ".join(
            action if count == len(problems) else f"{grouped(count)} {action}"
            for action, count in Counter(problem.action for problem in problems).most_common()
        )
        lines = [f"{grouped(len(problems))} x {kind}: {actions}", *(f"    {problem}" for problem in problems[:SHOWN])]
        if problems[SHOWN:]:
            lines.append(f"    and {grouped(len(problems) - SHOWN)} more: --show {kind!r}")
        return "\n".join([*lines, f"  {ADVICE[kind]}"])

    def _verdict(self) -> str:
        if not len(self.boxes):
            return f"There are no boxes. {self._losses()}".rstrip()
        if not self.boxes.problems:
            return "Nothing is wrong."
        return self._losses() or "Nothing is lost."

    def _losses(self) -> str:
        counts = {
            "row": sum(count for kind, count in self.refused().items() if kind not in ON_PURPOSE),
            "image": self.images_lost,
            "path": sum(problem.kind in ("path", "unreadable path") for problem in self.lost),
            "label file": sum(problem.kind == "unreadable label" for problem in self.lost),
        }
        parts = [f"{grouped(count)} {what}" + "s" * (count != 1) for what, count in counts.items() if count]
        return f"Lost: {', '.join(parts)}." if parts else ""


def _if(count: int, text: str) -> str:
    return ", " + text.format(grouped(count)) if count else ""
