"""Texts of others, made fit for a terminal: shortened, and without what would steer it."""

import unicodedata

from loopwright.legible import legible


def short(text: str, most: int) -> str:
    """The beginning of `text` on one line of at most so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def tail(text: str, most: int) -> str:
    """The end of `text` on one line of at most so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"…{text[1 - most :]}"


def visible(text: str) -> str:
    """`text` with everything escaped that would not show, or would steer a terminal."""
    return legible(text, lambda char: char.encode("unicode_escape").decode())


def cut(text: str, most: int) -> str:
    """The beginning of `text` in at most so many columns of a terminal, of which there is one.

    >>> cut("上海的雨", 6), cut("Rain", 4)
    ('上海…', 'Rain')
    """
    if width(text) <= most:
        return text
    while width(text) > most - 1:
        text = text[: min(len(text) - 1, most)]
    return f"{text}…"


def end(text: str, most: int) -> str:
    """The end of `text` in at most so many columns of a terminal, of which there is one.

    >>> end("上海的雨", 6), end("Rain", 4)
    ('…的雨', 'Rain')
    """
    return cut(text[::-1], most)[::-1]


def width(text: str) -> int:
    """How many columns `text` takes in a terminal.

    >>> width("Grüße"), width("上海"), width("e\\u0301")
    (5, 4, 1)
    """
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))
