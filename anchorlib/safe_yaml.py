"""Read untrusted YAML: only plain values, no tags that run code, no small file that fills the memory."""

from __future__ import annotations

from typing import Any, Union

import yaml


class _Loader(yaml.SafeLoader):
    """Load safely and without merge keys: nested merges let a file of a kilobyte fill the memory."""

    def flatten_mapping(self, node: Any) -> None:
        """Do nothing instead of merging keys."""


def load_yaml(text: Union[str, bytes]) -> Any:
    """Return the content of a YAML file; ValueError with the reason, in one line, if it cannot be read safely.

    Aliases are kept: one object can occur many times, so code that walks the result must limit its steps.

    Examples
    --------
    >>> load_yaml("anchors: [[10,13, 16,30]]")
    {'anchors': [[10, 13, 16, 30]]}
    """
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    # PyYAML's constructors raise these for invalid dates, numbers of 5000 digits and endless nesting.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError, AttributeError, LookupError) as error:
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from error
