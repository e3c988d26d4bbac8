"""What makes the command line pleasant: colours where they can be seen, and the word that was probably meant."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Iterator
from typing import Any, NoReturn, TextIO

_STYLES = {"bold": "1", "red": "31", "green": "32", "yellow": "33"}


def paint(text: str, style: str, stream: TextIO) -> str:
    """The text in bold, red, green or yellow where `stream` is a terminal; https://no-color.org is heeded."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


class Parser(argparse.ArgumentParser):
    """Says which command, option or choice was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Usage, the message and the nearest words, to stderr; exit code 2."""
        wrong = re.search(r"invalid choice: '([^']*)'|unrecognized arguments: ([^\s=]+)", message)
        if wrong:
            word = wrong[1] or wrong[2]
            known = sorted({known for known in _words(self) if known.startswith("-") == word.startswith("-")})
            near = difflib.get_close_matches(word, known, n=1)
            message += f"\nDid you mean {near[0]}?" if near else ""
        elif re.search("argument .*: invalid (int|float) value", message):
            # `--n 9 data.yaml` takes data.yaml for a number.
            message += "\nPut DATA or FILE first, before options that take several numbers."
        super().error(message)


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every command, option and choice of a parser and those below it."""
    for action in parser._actions:
        yield from action.option_strings
        choices: Any = action.choices or ()
        yield from map(str, choices)
        if isinstance(choices, dict):
            for below in choices.values():
                yield from _words(below)
