"""`Spoken`: what models say while they say it, and nothing of a secret that has only begun."""

import json
import re
from collections.abc import Iterator

from attrs import define, field

from loopwright.calls import Delta
from loopwright.events import Event, Failed, Returned
from loopwright.log.redaction import MASK, Redaction

KEPT = 8_000
"""Characters of a call: the private key of 8,192 bits has 6,400, and is known by its head."""

BEGUN = 8
"""So many characters may be the beginning of a secret; fewer are shown, as all words begin so."""

_WORD = "".join(map(chr, range(ord("!"), ord("~") + 1)))
"""What secrets are made of; scripts that have no spaces are not held back."""

_LONG = re.compile(r"[A-Za-z0-9_\-.+/=]{15,}")
_RANDOM = re.compile(r"[0-9]|[a-z][A-Z]").search
_WORDS_BEHIND = re.compile(
    r"(?<=[A-Za-z0-9_\-])(?=-----BEGIN [A-Z ]*PRIVATE KEY|[Bb]earer |[Bb]asic )"
)
"""Secrets that have spaces, behind a letter."""


@define
class Spoken:
    """The last words of each model call of a run that goes on: its thinking and its text apart."""

    said: dict[tuple[str, str], str] = field(factory=dict)
    latest: tuple[str, str] = ("", "")
    redaction: Redaction = field(factory=Redaction)

    def add(self, delta: Delta) -> None:
        """Take the next words of a call."""
        self.latest = key = (delta.call, delta.kind)
        self.said[key] = (self.said.get(key, "") + delta.text)[-KEPT:]

    def words(self) -> str:
        """What may be shown of the latest words; it takes too long to be asked for each delta."""
        said = self.said.get(self.latest, "")
        clear = before = _without_block(said)
        if self.redaction.suspects(before):
            clear = self._masked(before)
        shown = _without_word(self._without_known(clear))
        return shown if (before, shown) == (said, clear) else f"{shown}…"

    def happened(self, event: Event) -> None:
        """Forget the words of a call that is over; those of others are no longer the latest."""
        self.latest = ("", "")
        if isinstance(event, Returned | Failed):
            self.said = {key: said for key, said in self.said.items() if key[0] != event.call}

    def _masked(self, text: str) -> str:
        """`text` without secrets, also where one stands in a word.

        Of two blocks of one kind in a row the first ends in the word that the second begins with.
        In passing, a word too many may be masked.
        """
        apart = _WORDS_BEHIND.sub("\n", text)
        masked = self.redaction.masked(apart)
        return _LONG.sub(self._hidden, masked if masked != apart else text)

    def _hidden(self, word: re.Match[str]) -> str:
        return MASK if _RANDOM(word[0]) and self.redaction.suspects(word[0]) else word[0]

    def _without_known(self, text: str) -> str:
        """`text` without the beginning of a known secret at its end: it may have spaces."""
        begun = max((_begun(secret, text) for secret in self._known()), default=0)
        return text[: len(text) - begun]

    def _known(self) -> Iterator[str]:
        yield from self.redaction.plain
        if odd := self.redaction.odd:
            for secret in filter(odd.fullmatch, self.redaction.environment.values()):
                yield secret
                yield json.dumps(secret)[1:-1]
                yield json.dumps(secret, ensure_ascii=False)[1:-1]


def _begun(secret: str, text: str) -> int:
    """With how many characters of the secret `text` ends."""
    lengths = range(len(secret) - 1, BEGUN - 1, -1)
    return next((length for length in lengths if text.endswith(secret[:length])), 0)


def _without_block(text: str) -> str:
    """`text` up to the block of a private key whose end has not come."""
    before, _, block = text.rpartition("-----BEGIN ")
    title, *more = block.split("-----")
    return before if "PRIVATE KEY" in title and len(more) < 3 else text


def _without_word(text: str) -> str:
    """`text` without a long word at its end: the rest of it may be to come."""
    words = text.rstrip(_WORD)
    return text if len(text) - len(words) < BEGUN else words
