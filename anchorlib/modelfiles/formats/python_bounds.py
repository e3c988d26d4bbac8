"""Refuse Python text that would exhaust the stack of Python's own parser, before it is parsed.

Python 3.9 and 3.10 end the process in `ast.parse` for an expression of some 100,000 operators: a chain of terms, minus
signs, attributes or calls is one level of the syntax tree for each. A model file has a handful.
"""

from __future__ import annotations

import io
import tokenize

_MAX_CHARACTERS = 2**18  # a config is a few kilobytes; one with the names of 1,200 classes has 40 KB
_MAX_LEVELS = 500  # of the syntax tree, estimated from above
_MAX_FORMAT_STRING = 2000  # characters; before Python 3.12 the expressions in it are part of one token
_LEVEL_WORDS = frozenset(("not", "if", "for", "await", "yield"))  # each makes a level, until the next comma
_STATEMENT_WORDS = frozenset(("lambda", "elif"))  # each makes a level; commas do not end it
_NO_LEVEL = frozenset(("=", ":", ";", ",", "->", "...", ")", "]", "}"))


def check_python(text: str) -> None:
    """Raise ValueError for Python text that is too long or too deeply nested, SyntaxError if it has no tokens.

    >>> check_python("anchors = [[(10, 13), (16, 30)]]")
    """
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters, more than the limit of {_MAX_CHARACTERS} for Python")
    if "\0" in text:  # a SystemError in the tokenizer of Python 3.13.0
        raise SyntaxError("it has a null byte")
    levels, always = [0], 0  # of each open bracket since its last comma; of all that no comma ends
    try:
        for token in tokenize.generate_tokens(io.StringIO(text, newline=None).readline):
            word = token.string
            if token.type == tokenize.ERRORTOKEN:  # before Python 3.12, a run of N spaces before it takes N**2 steps
                raise SyntaxError(f"line {token.start[0]} has {word!r}")
            if token.type == tokenize.NEWLINE or word == ";":
                levels = [0]
            elif word == ",":
                levels[-1] = 0
            elif token.type == tokenize.OP and word in ")]}":
                del levels[max(len(levels) - 1, 1) :]
            elif token.type == tokenize.OP and word not in _NO_LEVEL:
                levels[-1] += 1
                levels += [0] * (word in "([{")
            elif word in _LEVEL_WORDS:
                levels[-1] += 1
            elif word in _STATEMENT_WORDS:
                always += 1
            elif token.type == tokenize.STRING and "f" in word[:2].lower() and len(word) > _MAX_FORMAT_STRING:
                raise ValueError(f"line {token.start[0]} has a format string of {len(word)} characters")
            if sum(levels) + always > _MAX_LEVELS:
                raise ValueError(f"line {token.start[0]} is nested too deeply: more than {_MAX_LEVELS} levels")
    except tokenize.TokenError as error:
        raise SyntaxError(str(error)) from error
