"""Which characters people see: all others are escaped in whatever is shown to them."""

import re
import unicodedata
from collections.abc import Callable

_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U0001d159\U000e0100-\U000e01ef]"
)
"""What Python takes for printable, and no screen shows: of Unicode's Default_Ignorable_Code_Point
those that are letters or marks, and the blanks of Braille and of music."""

_EMOJI = "\ufe0f"
"""Makes an emoji of the symbol before it, which shows; behind anything else it hides."""

_KEYCAP = "\u20e3"

_OTHERS = tuple("\u203c\u2049\u2139\u3030")
"""What Unicode has emoji of, though it is a letter or punctuation."""


def legible(text: str, escape: Callable[[str], str]) -> str:
    """`text` with each character escaped that would not show, or would steer a terminal.

    >>> legible("Grüße, 上海\u3164", ascii)
    "Grüße, 上海'\\\\u3164'"
    """
    if text.isprintable() and not _BLANK.search(text):
        return text
    return "".join(
        char if _shows(char) or _makes_emoji(text, i) else escape(char)
        for i, char in enumerate(text)
    )


def _shows(char: str) -> bool:
    return char.isprintable() and not _BLANK.match(char)


def _makes_emoji(text: str, i: int) -> bool:
    before, after = text[max(0, i - 1) : i], text[i + 1 : i + 2]
    return text[i] == _EMOJI and (after == _KEYCAP or _symbol(before))


def _symbol(char: str) -> bool:
    return char in _OTHERS or (char > "~" and unicodedata.category(char).startswith("S"))
