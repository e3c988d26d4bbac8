"""Parse the command line: suggestions for misspelt words, and completion scripts for shells."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from anchorlib.cli.streams import print_unwrapped
from anchorlib.results import printable

SHELLS = ("bash", "zsh", "fish", "tcsh")


class Parser(argparse.ArgumentParser):
    """Parse arguments; suggest the command, option or choice that was probably meant."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.color = False  # Python 3.14 has colours of its own, which would be shown as escapes

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments; refuse an unknown one here: the parser of all commands does not know whose it is."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Print usage, message and suggestion to stderr, and exit with code 2."""
        message = printable(message)
        wrong = re.search(r"invalid choice: '([^']*)'|unrecognized arguments: ([^\s=]+)", message)
        if wrong:
            word = wrong[1] or wrong[2]
            known = sorted({known for known in self._list_words() if known.startswith("-") == word.startswith("-")})
            near = difflib.get_close_matches(word, known, n=1)
            message += f"\nDid you mean {near[0]}?" if near else ""
        number = re.search("argument .*: invalid (?:int|float) value: '(.*)'", message)
        if number and re.search(r"[./\\]", number[1]):
            # argparse reads data.yaml in `--n 9 data.yaml` as a second number.
            message += "\nPut DATA or FILE first, before options that take several numbers."
        super().error(message)

    def _list_words(self) -> Iterator[str]:
        """Yield every command, or every option and choice of this command."""
        for action in self._actions:
            yield from action.option_strings
            yield from map(str, action.choices or ())


class PrintCompletion(argparse.Action):
    """Print the completion script that shtab makes from the parser."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Print the script and exit; every argument that names a file is completed with file names."""
        try:
            import shtab
        except ImportError:
            parser.error("--print-completion needs shtab: pip install 'shtab>=1.13'")
        for one in _list_parsers(parser):
            action: Any  # shtab reads an attribute that argparse does not have
            for action in one._actions:
                if action.metavar in ("FILE", "DATA"):
                    action.complete = shtab.FILE
        script = shtab.complete(parser, values)
        if values == "zsh":  # shtab's rule for DATA completes the first data set only
            script = script.replace('"(*):', '"*:')
        print_unwrapped(script)
        parser.exit()


def _list_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action.choices, dict):
            yield from action.choices.values()
