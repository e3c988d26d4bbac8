"""YAML of strangers: plain values only, no tags that run something, no file that grows beyond its own size."""

from __future__ import annotations

from typing import Any, Union

import yaml


class _Loader(yaml.SafeLoader):
    """The safe loader without merge keys: nested ones grow a file of a kilobyte beyond all memory."""

    def flatten_mapping(self, node: Any) -> None:
        pass


def load_yaml(text: Union[str, bytes]) -> Any:
    """The content of a YAML file; ValueError with the reason, in one line, if it is none that is safe to read.

    Aliases are kept as they are, one object in many places: code that walks the result must bound its steps.

    Examples
    --------
    >>> load_yaml("anchors: [[10,13, 16,30]]")
    {'anchors': [[10, 13, 16, 30]]}
    """
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    # PyYAML's constructors let these through: dates that are none, numbers of 5000 digits, nesting without end.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError, AttributeError, LookupError) as error:
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from error
