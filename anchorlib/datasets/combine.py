"""Join the boxes of several data sets, and select those of some classes."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Union

import numpy as np

from anchorlib.arrays import is_integer
from anchorlib.datasets.box_sizes import BoxSizes
from anchorlib.errors import BadValueError

Classes = Union[str, int, Sequence[Union[str, int]]]

_SHOWN = 12  # classes in a message


def join(parts: Sequence[BoxSizes]) -> BoxSizes:
    """Return the boxes of all data sets, which were read with the same `imgsz` and `resize`.

    Classes with the same name become one class. A data set without names keeps its numbers if all others agree in
    their names; otherwise its numbers become names.
    """
    if len(parts) == 1:
        return parts[0]
    named = list(dict.fromkeys(part.class_names for part in parts if part.class_names))
    classes = [part.classes for part in parts]
    if len(named) > 1:
        numbers = [np.unique(part.classes) for part in parts]
        names = [name for part in parts for name in part.class_names]
        names += [part.class_name(number) for part, some in zip(parts, numbers) for number in map(int, some)]
        joined = {name: number for number, name in enumerate(dict.fromkeys(names))}
        named = [tuple(joined)]
        for at, (part, some) in enumerate(zip(parts, numbers)):
            new = np.asarray([joined[part.class_name(number)] for number in map(int, some)], np.int64)
            classes[at] = new[np.searchsorted(some, part.classes)]
    starts = np.cumsum([0, *(len(part.image_wh) for part in parts)])
    centres = [part.centres for part in parts if part.centres is not None]
    return replace(
        parts[0],
        wh=np.concatenate([part.wh for part in parts]),
        image_wh=np.concatenate([part.image_wh for part in parts]),
        image_index=np.concatenate([part.image_index + start for part, start in zip(parts, starts)]),
        classes=np.concatenate(classes),
        class_names=named[0] if named else (),
        image_names=tuple(name for part in parts for name in part.image_names),
        problems=[problem for part in parts for problem in part.problems],
        rows_read=sum(part.rows_read for part in parts),
        rows_refused=sum(part.rows_refused for part in parts),
        centres=np.concatenate(centres) if len(centres) == len(parts) else None,
    )


def select(sizes: BoxSizes, classes: Classes) -> BoxSizes:
    """Return the boxes of some classes, by name or number. All images and class numbers stay.

    The rows of other classes are not counted in `rows_read`. BadValueError for a class that the data set does not have.
    """
    wanted = [classes] if isinstance(classes, (str, int, np.integer)) else list(classes)
    if not wanted:
        raise BadValueError("classes must be at least one name or number, got none.")
    numbers_of: dict[str, list[int]] = {}
    for number, name in enumerate(sizes.class_names):
        numbers_of.setdefault(name, []).append(number)
    used = set(np.unique(sizes.classes).tolist())
    numbers = [number for item in wanted for number in _numbers(sizes, item, numbers_of, used)]
    chosen = np.isin(sizes.classes, numbers)
    return replace(
        sizes,
        wh=sizes.wh[chosen],
        image_index=sizes.image_index[chosen],
        classes=sizes.classes[chosen],
        centres=None if sizes.centres is None else sizes.centres[chosen],
        rows_read=sizes.rows_read - int((~chosen).sum()),
    )


def _numbers(
    sizes: BoxSizes, item: Union[str, int], numbers_of: dict[str, list[int]], used: Container[int]
) -> list[int]:
    """Return the numbers of a class: usually one, but two classes may have one name."""
    found = numbers_of.get(item, []) if isinstance(item, str) else []
    is_number = is_integer(item, 0) or (isinstance(item, str) and item.isdecimal() and len(item) < 10)
    if not found and is_number:
        number = int(item)
        found = [number] if number < len(sizes.class_names) or number in used else []
    if not found:
        there = list(sizes.class_names) or list(sizes.boxes_per_class())
        more = f" and {len(there) - _SHOWN} others" if len(there) > _SHOWN else ""
        raise BadValueError(
            f"there is no class {item!r}; the data set has {', '.join(there[:_SHOWN]) or 'none'}{more}."
        )
    return found
