"""The body of a request, put together alike for every wire."""

import base64
from collections.abc import Mapping
from typing import Any

from loopwright.calls import Media, Request, Sent
from loopwright.models.history import Histories
from loopwright.models.prefix import Head


def written(
    fields: Mapping[str, Any], request: Request, histories: Histories, name: str, system: Any = None
) -> tuple[bytes, Sent]:
    """The body with these `fields` and the conversation under `name`, and what it means.

    What the options hold extra for the provider comes last. `system` is an element that stands
    before the conversation, for wires that have no field for it. Half of a surrogate pair, which
    has no UTF-8, becomes a question mark.
    """
    extra = request.options.extra.get(histories.wire.provider)
    if extra:  # what a user holds may change: it is written anew each time
        fields = {key: held for key, held in merged(fields, extra).items() if key != name}
    head = Head.of(fields, system) if extra else histories.head(fields, system)
    turns, sent = histories.written(request, head.parts)
    said = [head.first, *turns] if head.first else turns
    text = f'{{{head.text},"{name}":[{",".join(said)}]}}'
    return text.encode(errors="replace"), sent


def merged(fields: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` with `extra`: objects are merged, lists are joined, all else is replaced.

    >>> merged({"tools": [1], "a": {"b": 1}, "c": 2}, {"tools": [2], "a": {"d": 3}, "c": 4})
    {'tools': [1, 2], 'a': {'b': 1, 'd': 3}, 'c': 4}
    """
    return {**fields, **{key: _joined(fields.get(key), value) for key, value in extra.items()}}


def _joined(old: Any, new: Any) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return merged(old, new)
    return [*old, *new] if isinstance(old, list) and isinstance(new, list | tuple) else new


def text_of(media: Media) -> str | None:
    """The words of a document that is nothing but words, or `None`.

    >>> text_of(Media("text/plain", "SGk="))
    'Hi'
    """
    if not media.mime.startswith("text/") or not media.data:
        return None
    try:
        return base64.b64decode(media.data, validate=True).decode(errors="replace")
    except ValueError:  # no base64: the provider says so
        return None
