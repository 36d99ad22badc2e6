"""Texts of others, made fit for a terminal: shortened, and without what would steer it."""


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
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
