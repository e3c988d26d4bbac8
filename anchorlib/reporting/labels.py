"""What is wrong with a data set, as text that a person can act on and as a dict for machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Optional

from anchorlib.datasets import BoxSizes, Problem
from anchorlib.results import grouped

#: kind of Problem -> what to do about it
ADVICE = {
    "wrong number of fields": "Complete or delete these rows; the tool that wrote them may have another format.",
    "not a number": "Correct or delete these rows.",
    "not a class": "Write the class as a whole number.",
    "negative size": "Exchange the corners, or delete these rows.",
    "out of [0, 1]": "YOLO rows are shares of the image: divide pixels by width and height. Delete what is outside.",
    "duplicate row": "Delete the repetitions: they would count twice in training.",
    "crowd": "Nothing: crowds are left out on purpose.",
    "ignored": "Nothing: ignored annotations are left out on purpose.",
    "out of bounds": "Clip these boxes to the image; many such boxes mean labels of another image size.",
    "zero area": "Delete these rows: a box without area is never learnt, and fits leave it out.",
    "class out of range": "Correct the class, or the names and their number in the data set's own file.",
    "missing label": "Nothing, if these images show no object; else find their labels.",
    "missing image": "Put the images where the list or the labels expect them, or delete their rows.",
    "unreadable image": "Replace these images: a training run cannot read them either.",
    "unreadable label": "Replace these files.",
    "image without size": "Write the image's width and height beside it; without them its boxes have no size.",
    "exif rotation": "Nothing, if the labels were drawn on the turned image; else save it without EXIF.",
    "path": "Correct the path in this file.",
}
KINDS = tuple(ADVICE)
ON_PURPOSE = ("crowd", "ignored")
SHOWN = 3  # problems of a kind in the summary
CLASSES_SHOWN = 12


@dataclass(frozen=True)
class LabelReport:
    """What a data set holds and what is wrong with it.

    data, split : as they were asked for
    boxes : what was read, its problems included
    """

    data: str
    split: str
    boxes: BoxSizes

    @property
    def lost(self) -> list[Problem]:
        """The problems that cost a row, an image or a split; what is left out on purpose is none of them."""
        left_out = [p.kind not in ON_PURPOSE and p.action == "left out" for p in self.boxes.problems]
        return [p for p, is_left_out in zip(self.boxes.problems, left_out) if p.costs or is_left_out]

    @property
    def images_lost(self) -> int:
        """Images that were found in lists, folders or files and could not be used."""
        problems = self.boxes.problems
        return sum(p.action == "image refused" or (p.kind, p.action) == ("missing label", "left out") for p in problems)

    def refused(self) -> dict[str, int]:
        """The rows refused, by kind of problem; those whose image is lost under 'of lost images'."""
        single = [p.kind for p in self.boxes.problems if p.action == "row refused" or p.kind in ON_PURPOSE]
        counts = dict(Counter(single).most_common())
        # An image's problem stands for all its rows, none of which was looked at.
        others = self.boxes.rows_refused - sum(counts.values())
        return {"of lost images": others, **counts} if others else counts

    def by_class(self) -> list[tuple[str, int]]:
        """(name or number, boxes) of each class, in their order; classes without a box too."""
        boxes = Counter(self.boxes.classes.tolist())
        names = dict(enumerate(self.boxes.class_names))
        return [(names.get(number, str(number)), boxes[number]) for number in sorted({*boxes, *names})]

    def of_kind(self, kind: Optional[str]) -> list[Problem]:
        """The problems of one kind; all of them for None."""
        return [problem for problem in self.boxes.problems if kind in (None, problem.kind)]

    def to_dict(self, kind: Optional[str] = None) -> dict[str, Any]:
        """One JSON object with every problem, or those of one kind; the counts are of all."""
        boxes = self.boxes
        return {
            "data": self.data,
            "split": self.split,
            "lost": bool(self.lost),
            "images": len(boxes.image_wh),
            "images_lost": self.images_lost,
            "rows_read": boxes.rows_read,
            "boxes": len(boxes),
            "rows_refused": boxes.rows_refused,
            "refused": self.refused(),
            "classes": [{"class": name, "boxes": count} for name, count in self.by_class()],
            "counts": boxes.count_problems(),
            "problems": [asdict(problem) for problem in self.of_kind(kind)],
        }

    def to_text(self) -> str:
        """A summary: what adds up to what, then each kind of problem with its first places and what to do."""
        costly = {problem.kind for problem in self.lost}
        kinds = sorted(self.boxes.count_problems(), key=lambda kind: kind not in costly)  # else the most frequent first
        return "\n\n".join([self._sums(), *map(self._kind_text, kinds), self._verdict()])

    def _sums(self) -> str:
        boxes, refused = self.boxes, self.refused()
        images = f"{grouped(len(boxes.image_wh))} read" + _if(self.images_lost, "{} lost")
        rows = f"{grouped(boxes.rows_read)} read = {grouped(len(boxes))} boxes + {grouped(boxes.rows_refused)} refused"
        lines = [f"{self.data}, split {self.split}", f"  images   {images}", f"  rows     {rows}"]
        if refused:
            parts = " + ".join(f"{grouped(count)} {kind}" for kind, count in refused.items())
            lines.append(f"  refused  {grouped(boxes.rows_refused)} = {parts}")
        return "\n".join([*lines, f"  classes  {self._classes()}"])

    def _classes(self) -> str:
        classes = self.by_class()
        if len(classes) <= CLASSES_SHOWN:
            return ", ".join(f"{name} {grouped(count)}" for name, count in classes) or "none"
        most = sorted(classes, key=lambda item: -item[1])[: CLASSES_SHOWN // 2]
        told = ", ".join(f"{name} {grouped(count)}" for name, count in most)
        empty = sum(not count for _, count in classes)
        return f"{len(classes)}; most boxes: {told}" + _if(empty, "{} without a box")

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
        if not self.boxes.problems:
            return "Nothing is wrong."
        if not self.lost:
            return "Nothing is lost."
        counts = {
            "row": sum(count for kind, count in self.refused().items() if kind not in ON_PURPOSE),
            "image": self.images_lost,
            "path": sum(problem.kind == "path" for problem in self.lost),
            "label file": sum(problem.kind == "unreadable label" for problem in self.lost),
        }
        return f"Lost: {', '.join(f'{grouped(n)} {what}' + 's' * (n != 1) for what, n in counts.items() if n)}."


def _if(count: int, text: str) -> str:
    return ", " + text.format(grouped(count)) if count else ""
