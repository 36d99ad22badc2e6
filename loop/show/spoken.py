"""`Spoken`: what models say while they say it, and nothing of a secret that has only begun."""

from attrs import define, field

from loopwright.calls import Delta
from loopwright.events import Event, Failed, Returned
from loopwright.log.redaction import Redaction

KEPT = 8_000
"""Characters of a call: the private key of 8,192 bits has 6,400, and is known by its head."""

BEGUN = 8
"""So many characters without a space may be the beginning of a secret, which is not known yet."""

_WORD = "".join(map(chr, range(ord("!"), ord("~") + 1)))
"""What secrets are made of; scripts that have no spaces are not held back."""


@define
class Spoken:
    """The last words of each model call of a run that goes on."""

    said: dict[str, str] = field(factory=dict)
    redaction: Redaction = field(factory=Redaction)

    def add(self, delta: Delta) -> str:
        """Take the next words of a call; what may be shown of it."""
        said = self.said[delta.call] = (self.said.get(delta.call, "") + delta.text)[-KEPT:]
        said = _without_block(said)
        if self.redaction.suspects(said):
            said = self.redaction.masked(said)
        return _without_word(said)

    def happened(self, event: Event) -> None:
        """Forget the words of a call that is over."""
        if isinstance(event, Returned | Failed):
            self.said.pop(event.call, None)


def _without_block(text: str) -> str:
    """`text` up to the block of a private key whose end has not come."""
    before, begins, block = text.rpartition("-----BEGIN ")
    return before if begins and block.count("-----") < 3 else text


def _without_word(text: str) -> str:
    """`text` without a long word at its end: the rest of it may be to come."""
    words = text.rstrip(_WORD)
    return text if len(text) - len(words) < BEGUN else words
