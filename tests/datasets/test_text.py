"""Text files are read as UTF-8 or UTF-16; any other encoding is an error, or a guess that is reported."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchorlib.datasets.io.text import NotUtf8Error, decode_text, guess_text

TEXT = "狗 1.jpg\r\né 2.jpg\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_utf_8_and_utf_16_are_read(encoding):
    assert decode_text(TEXT.encode(encoding)) == TEXT
    assert guess_text(TEXT.encode(encoding)) == (TEXT, None)


def test_utf_16_is_read_in_both_byte_orders():
    assert decode_text(b"\xfe\xff" + TEXT.encode("utf-16-be")) == TEXT
    assert decode_text(b"\xff\xfe" + TEXT.encode("utf-16-le")) == TEXT


@pytest.mark.parametrize("encoding", ["gbk", "gb18030"])
def test_another_encoding_is_an_error_that_names_the_line(encoding):
    content = b"a\nb\n" + TEXT.encode(encoding)
    with pytest.raises(NotUtf8Error, match=r"^line 3 is not UTF-8; save the file as UTF-8$") as error:
        decode_text(content)
    assert isinstance(error.value, OSError)  # readers treat it as a file that cannot be read
    assert guess_text(content) == (
        "a\nb\n" + TEXT,
        "line 3 is not UTF-8 (read as gb18030); save the file as UTF-8",
    )


def test_what_gb18030_does_not_have_is_read_as_latin_1():
    assert guess_text(b"\xff") == ("\xff", "line 1 is not UTF-8 (read as latin-1); save the file as UTF-8")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0", "0 0.5".encode("utf-16-le"), b"\xff\xfea"])
def test_what_is_not_text_is_never_guessed(content):
    with pytest.raises(NotUtf8Error, match="not "):
        decode_text(content)
    if b"\0" in content:
        with pytest.raises(NotUtf8Error):
            guess_text(content)


@given(content=st.binary())
def test_any_bytes_are_text_or_an_error(content):
    try:
        text, reason = guess_text(content)
    except NotUtf8Error:
        assert b"\0" in content
    else:
        assert isinstance(text, str)
        assert (reason is None) == (decode_or_none(content) is not None)


def decode_or_none(content):
    try:
        return decode_text(content)
    except NotUtf8Error:
        return None
