"""The prompt cache of a `Rehearsal`: what has been read before is reported as read from a cache."""

from collections.abc import Sequence
from itertools import accumulate
from threading import Lock

from attrs import frozen

from loopwright.calls import Usage

LEAST = 1024
"""Tokens that a prefix must have to be kept: the least that both vendors name, on their pages on
prompt caching."""


@frozen
class Chunk:
    """A piece of a prompt: its text, and for how long the prompt may be kept up to its end, which
    is ``"short"``, ``"long"`` or ``""``."""

    text: str
    kept: str = ""


class PromptCache:
    """The prefixes that were read while the rehearsal was open: none is forgotten.

    >>> cache, chunks = PromptCache(), [Chunk("word " * 1000, "short"), Chunk("Hello?")]
    >>> cache.read("a-model", chunks), cache.read("a-model", chunks)
    (Usage(input_uncached=2, ..., cache_write_short=1250, ...), Usage(..., cache_read=1250, ...))
    """

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._lock = Lock()

    def read(self, model: str, chunks: Sequence[Chunk]) -> Usage:
        """What `model` reads in, by where it comes from."""
        names = _names(model, chunks)
        sizes = [0, *accumulate(len(chunk.text) for chunk in chunks)]
        marks = [at for at, chunk in enumerate(chunks, 1) if chunk.kept and sizes[at] >= 4 * LEAST]
        with self._lock:
            known = max((at for at, name in enumerate(names) if name in self._known), default=0)
            self._known |= {names[at] for at in marks}
        kept = max(marks, default=0)
        read, total = sizes[known] // 4, sizes[-1] // 4 + 1
        written = max(0, sizes[kept] // 4 - read)
        long = kept > 0 and chunks[kept - 1].kept == "long"
        return Usage(
            input_uncached=total - read - written,
            cache_read=read,
            cache_write_short=0 if long else written,
            cache_write_long=written if long else 0,
        )


def count(chunks: Sequence[Chunk]) -> int:
    """The tokens of a prompt: one for four characters."""
    return sum(len(chunk.text) for chunk in chunks) // 4 + 1


def _names(model: str, chunks: Sequence[Chunk]) -> list[int]:
    """A name for each prefix, from the empty one on."""
    texts = (chunk.text for chunk in chunks)
    return list(accumulate(texts, lambda name, text: hash((name, text)), initial=hash(model)))
