"""Decode text files: UTF-8 and UTF-16 for certain; other encodings as a guess, where that is better than nothing."""

from __future__ import annotations

import codecs
from typing import Optional

from anchorlib.files import RefusedFileError

UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class NotUtf8Error(RefusedFileError):
    """Say that a text file has an unknown encoding, or is not text."""


def decode_text(content: bytes) -> str:
    """Return the text of a file: UTF-8 with or without a byte order mark, or UTF-16 with one; NotUtf8Error, an OSError.

    The error has the number of the first line that is not UTF-8. UTF-16 without a byte order mark is recognised by the
    NUL in its first letter, and is an error; a NUL elsewhere is kept.

    >>> decode_text("ä".encode("utf-16"))
    'ä'
    """
    if b"\0" in content[:2]:
        raise NotUtf8Error("not text in UTF-8; save the file as UTF-8")
    try:
        return content.decode("utf-16" if content.startswith(UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NotUtf8Error(f"line {line} is not UTF-8; save the file as UTF-8") from error


def guess_text(content: bytes) -> tuple[str, Optional[str]]:
    """Return the text of a file, and what is wrong with its encoding or None; NotUtf8Error only if it is not text.

    Use it where a wrong letter does no harm, as in class names, or is noticed, as in paths. Chinese editors write GBK,
    which is a part of GB 18030; any other encoding becomes Latin-1, which has a letter for each byte.

    >>> guess_text("狗".encode("gbk"))
    ('狗', 'line 1 is not UTF-8 (read as gb18030); save the file as UTF-8')
    """
    try:
        return decode_text(content), None
    except NotUtf8Error as error:
        if b"\0" in content:  # an image, for example
            raise
        reason = str(error)
    for encoding in ("gb18030", "latin-1"):
        try:
            return content.decode(encoding), reason.replace(";", f" (read as {encoding});")
        except UnicodeDecodeError:
            continue
    raise AssertionError("Latin-1 decodes any bytes")
