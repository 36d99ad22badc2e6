"""Server-sent events, as the HTML standard describes them, whose data are JSON objects.

The decoders inside the SDKs take a cut stream for a whole one, lose events behind a byte order
mark and have no limit of size; so the bytes of a response are read here.
"""

import re
from collections.abc import Iterator
from typing import Any

from loopwright.models import strict

LARGEST = 64 * 1024 * 1024
"""Bytes of one answer, unpacked: some 16 million tokens, a hundred times what any model writes. A
small packed body can unpack to gigabytes."""

DONE = "[DONE]"
"""The type of the event that only says that no other will follow."""

_ENDS = re.compile(rb"\r\n|\n|\r(?=.)", re.DOTALL)
"""A carriage return at the very end may be half of a line end, and waits for the next bytes."""

_BOM = b"\xef\xbb\xbf"


class TooLong(Exception):
    """The answer has more bytes than `LARGEST`."""


class Malformed(ValueError):
    """What came is no event stream of JSON objects."""


class Events:
    """The events of one answer: give it the bytes as they come, in pieces of any size.

    >>> events = Events()
    >>> list(events.feed(b'data: {"type": "pi')), list(events.feed(b'ng"}\\n\\n'))
    ([], [{'type': 'ping'}])
    """

    def __init__(self) -> None:
        self.size = 0
        self.head = b""
        self.count = 0
        self._rest: list[bytes] = []
        self._data: list[bytes] = []
        self._event = b""

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """The events that `chunk` completes. Raises `Malformed` and `TooLong`."""
        self.size += len(chunk)
        if self.size > LARGEST:
            raise TooLong
        if len(self.head) < 200:
            self.head += chunk[:200]
        for line in self._lines(chunk):
            if line:
                self._field(line)
            elif event := self._dispatched():
                self.count += 1
                yield event

    def end(self) -> Iterator[dict[str, Any]]:
        """The event that a carriage return at the very end completes: nothing follows it."""
        return self.feed(b"\n") if self._rest and self._rest[-1].endswith(b"\r") else iter(())

    def _lines(self, chunk: bytes) -> list[bytes]:
        self._rest.append(chunk)
        waiting = len(self._rest) > 1 and self._rest[-2].endswith(b"\r")
        if not waiting and b"\n" not in chunk and b"\r" not in chunk:
            return []
        text = b"".join(self._rest)
        *lines, rest = _ENDS.split(text) if b"\r" in text else text.split(b"\n")
        self._rest = [rest]
        return lines

    def _field(self, line: bytes) -> None:
        name, _, value = line.removeprefix(_BOM).partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._event = value.removeprefix(b" ")

    def _dispatched(self) -> dict[str, Any] | None:
        data, name = b"\n".join(self._data), self._event
        self._data, self._event = [], b""
        if not data:
            return None
        return {"type": DONE} if data.startswith(b"[DONE]") else _object(data, name)


def _object(data: bytes, name: bytes) -> dict[str, Any]:
    try:
        value = strict.loads(data.decode())
    except ValueError as error:
        raise Malformed(f"an event is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Malformed("an event is no JSON object")
    if name and not isinstance(value.get("type"), str):
        value["type"] = name.decode(errors="replace")
    return value
