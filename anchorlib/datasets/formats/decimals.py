"""Parse all decimals of a text together, bit-identical to float(). NumPy's reader takes three times as long."""

from __future__ import annotations

import numpy as np

from anchorlib.arrays import HostArray

_MOST = 16  # letters of a decimal: at most 15 digits next to a point, which float64 holds exactly
_POWERS_OF_TEN = np.asarray([10**power for power in range(_MOST)], np.uint64)
_LAST_LETTERS = np.asarray([2**64 - 2 ** (64 - 8 * n) for n in range(9)], np.uint64)  # masks of the last n letters


def find_fields(letters: HostArray) -> tuple[HostArray, HostArray]:
    """Return the starts (F,) and ends (F,) of the fields of a text (uint8) that ends with a blank, as bytes.split().

    >>> find_fields(np.frombuffer(b"0.375 12 ", np.uint8))
    (array([0, 6]), array([5, 8]))
    """
    blank = (letters == 32) | (letters - np.uint8(9) <= 4)
    edges = np.flatnonzero(blank[1:] != blank[:-1]) + 1  # a start and an end in turn
    if not blank[0]:
        edges = np.concatenate([[0], edges])
    return edges[::2], edges[1::2]


def parse_decimals(text: bytes, starts: HostArray, ends: HostArray) -> tuple[HostArray, HostArray]:
    """Return the values (F,) float64 of fields, and (F,) bool: which of them are decimals such as 12 or 0.375.

    The value of any other field means nothing. The digits of a decimal make an integer that float64 holds exactly, and
    so is the power of ten that divides it: the quotient is rounded once, as float() does it.

    >>> text = b"0.375 12 1e3 "
    >>> parse_decimals(text, *find_fields(np.frombuffer(text, np.uint8)))[1]
    array([ True,  True, False])
    """
    words = np.ndarray(
        len(text) + _MOST - 7, "<u8", b" " * _MOST + text, strides=1
    )  # [i + 8] are the 8 letters before i
    length = ends - starts
    number, points, good = _parse_word(words[ends + (_MOST - 8)], np.minimum(length, 8))
    decimals = _letters_after(points)
    good &= length <= _MOST
    long = np.flatnonzero(good & (length > 8))
    if len(long):
        high, high_points, high_good = _parse_word(words[ends[long]], length[long] - 8)
        number[long] += high * np.uint64(10**8)
        good[long] = high_good & ((points[long] == 0) | (high_points == 0))
        decimals[long] += np.where(high_points, _letters_after(high_points) + np.uint64(8), np.uint64(0))
        points[long] |= high_points
    good &= (points & (points - np.uint64(1)) == 0) & (length > (points != 0))
    power = _POWERS_OF_TEN[np.where(good, decimals, np.uint64(0)).astype(np.intp)]
    # The point counts as a digit 0: 12.75 is 12075 here, and 9 times 12 at its place are too many.
    integer = number // (power * np.uint64(10))
    number -= np.where(points != 0, integer * power * np.uint64(9), np.uint64(0))
    return number / power.astype(np.float64), good


def _bytes(value: int) -> np.uint64:
    """Return eight equal bytes."""
    return np.uint64(value * 0x0101010101010101)


_ZERO, _POINT, _LOW = _bytes(ord("0")), _bytes(ord(".") ^ ord("0")), _bytes(0x7F)
_NOT_DIGIT = _bytes(0x80 - 10)  # added to a byte, it sets the highest bit unless the byte is 0 to 9


def _parse_word(word: HostArray, n: HostArray) -> tuple[HostArray, HostArray, HostArray]:
    """Return the number in the last n of eight letters, the places of points (bit 7 of a byte), and which are good.

    A point counts as a digit 0. A word is good if it has only digits and points.
    """
    digits = (word ^ _ZERO) & _LAST_LETTERS[n]
    rest = digits ^ _POINT
    points = ~(((rest & _LOW) + _LOW) | rest | _LOW)
    digits ^= (points >> np.uint64(7)) * np.uint64(ord(".") ^ ord("0"))
    good = (((digits & _LOW) + _NOT_DIGIT) | digits) & ~_LOW == 0
    # The first letter is the lowest byte. Each step joins neighbours: digits to 0..99, those to 0..9999, and so on.
    number = (digits * np.uint64(1 + (10 << 8))) >> np.uint64(8) & np.uint64(0x00FF00FF00FF00FF)
    number = (number * np.uint64(1 + (100 << 16))) >> np.uint64(16) & np.uint64(0x0000FFFF0000FFFF)
    number = (number * np.uint64(1 + (10000 << 32))) >> np.uint64(32)
    return number, points, good


def _letters_after(points: HostArray) -> HostArray:
    """Return how many of eight letters are after the point, of words with one point; 0 without a point."""
    return (points >> np.uint64(7)) * np.uint64(0x0706050403020100) >> np.uint64(56)
