"""The parser of decimals takes only what it can parse, and gives the value of float()."""

from __future__ import annotations

import random

import numpy as np

from anchorlib.datasets.formats.decimals import find_fields, parse_decimals

KNOWN = [
    *("0.375", "12", "5.", ".5", ".", "..", "1.2.3", "12345678", "123456789", "1234567890123456", "9999999999999999"),
    *("0.12345678901234", ".123456789012345", "123456789012345.", "1234567890.12345", "0000000000000000"),
    *("12345678.1.", "1.2345678.", "1.3.567890123", "12345678901234567", "0.1234567890123456"),
    *("1e3", "1_0", "-1", "+1", "0/5", "12:4", "nan", "\x80", "\x01", "\xae5"),
]
PIECES = ("0123456789", "0123456789.", "0123456789.-+e_/:\x01\xae")


def parse(fields: list[str]) -> tuple[list[float], list[bool]]:
    text = (" ".join(fields) + " ").encode("latin-1")
    starts, ends = find_fields(np.frombuffer(text, np.uint8))
    assert [text[start:end].decode("latin-1") for start, end in zip(starts, ends)] == fields
    values, good = parse_decimals(text, starts, ends)
    return values.tolist(), good.tolist()


def is_decimal(field: str) -> bool:
    return len(field) <= 16 and set(field) <= set("0123456789.") and field.count(".") <= 1 and field != "."


def test_decimals_have_the_value_of_float_and_other_fields_are_left():
    source = random.Random(0)
    made = ["".join(source.choices(PIECES[at % 3], k=source.randrange(1, 20))) for at in range(30_000)]
    fields = [*KNOWN, *made]
    values, good = parse(fields)
    assert good == list(map(is_decimal, fields))
    assert sum(good) > 8_000
    assert [value for value, is_good in zip(values, good) if is_good] == [
        float(field) for field, is_good in zip(fields, good) if is_good
    ]


def test_fields_are_those_of_split():
    for text in (b" ", b"a ", b"\t 1\x0b2\x0c\r\n3 ", b"1\x1c2 3\x85 "):
        starts, ends = find_fields(np.frombuffer(text, np.uint8))
        assert [text[start:end] for start, end in zip(starts, ends)] == text.split()
    assert parse_decimals(b"\n", *find_fields(np.frombuffer(b"\n", np.uint8)))[0].shape == (0,)
