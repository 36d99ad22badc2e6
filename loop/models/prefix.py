"""Prefixes: what stands before the newest turn of a request, which is what a cache can hold."""

import hashlib
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from loopwright.models import strict

_ASIDE = frozenset(
    (
        "stream",
        "stream_options",
        "store",
        "metadata",
        "service_tier",
        "max_tokens",
        "max_output_tokens",
        "max_completion_tokens",
        "prompt_cache_key",
        "cache_control",
    )
)
"""Fields of a request that say nothing to the model."""

_SYSTEM = ("system", "instructions")


def parts(fields: Mapping[str, str], system: str = "") -> dict[str, str]:
    """Digests of what a request says besides its conversation, in the order of a cache.

    `fields` are the fields of its body, and `system` what the system says if that is no field, all
    as JSON text.

    >>> list(parts({"model": '"m"', "stream": "true", "system": '"Be brief."'}))
    ['model', 'tools', 'system', 'options']
    """
    apart = ("model", "tools", *_SYSTEM)
    options = [f"{key}:{text}" for key, text in fields.items() if key not in (*apart, *_ASIDE)]
    said = system + "".join(fields.get(key, "") for key in _SYSTEM)
    found = {"model": fields.get("model", ""), "tools": fields.get("tools", ""), "system": said}
    return {name: digest(text) for name, text in {**found, "options": ",".join(options)}.items()}


@frozen
class Head:
    """What stands before a conversation: `text` holds the other fields of the body as JSON, `first`
    an element before the messages, `parts` are the digests of both.

    >>> Head.of({"model": "m", "stream": True}, None).text
    '"model":"m","stream":true'
    """

    fields: Mapping[str, Any]
    system: Any
    text: str
    first: str
    parts: Mapping[str, str]

    @classmethod
    def of(cls, fields: Mapping[str, Any], system: Any) -> "Head":
        """The head with these `fields`, and `system` as the first message if there is one."""
        texts = {key: strict.dumps(value) for key, value in fields.items()}
        first = "" if system is None else strict.dumps(system)
        text = ",".join(f"{strict.dumps(key)}:{text}" for key, text in texts.items())
        return cls(fields, system, text, first, parts(texts, first))


def digest(text: str) -> str:
    """Twelve hexadecimal digits that name `text`."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12]


class Running:
    """The digest of a text that only grows: it costs what is new in it.

    >>> running = Running()
    >>> running.add("a")
    >>> running.add("b")
    >>> running.after({}) == digest("ab")
    True
    """

    def __init__(self) -> None:
        self._sum: Any = hashlib.sha256()

    def add(self, text: str) -> None:
        """Let the text grow by `text`."""
        self._sum.update(text.encode(errors="replace"))

    def after(self, parts: Mapping[str, str]) -> str:
        """Twelve digits that name these parts and the text after them."""
        whole = self._sum.copy()
        whole.update("".join(parts.values()).encode())
        return str(whole.hexdigest()[:12])


def differing(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """The first part that is another than it was, or ``""``."""
    return next((name for name in new if old.get(name) != new[name]), "")
