"""Read untrusted YAML: only plain values, no tags that run code, no small file that fills the memory."""

from __future__ import annotations

from typing import Any, Union

import yaml

_MAX_LEVELS = 100  # of brackets; a model file has four


class BoundedLoader(yaml.SafeLoader):
    """Load safely, and refuse deep brackets at once: PyYAML takes seconds for a kilobyte of them."""

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        """Scan an opening bracket; ValueError if too many are open."""
        if self.flow_level >= _MAX_LEVELS:
            raise ValueError(f"line {self.line + 1} is nested too deeply: more than {_MAX_LEVELS} brackets are open")
        super().fetch_flow_collection_start(token_class)


class _Loader(BoundedLoader):
    """Load without merge keys: nested merges let a file of a kilobyte fill the memory."""

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
