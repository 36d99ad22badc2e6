"""What a provider gave that the log could not keep, or not read again: not every one is ours."""

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from attrs import NOTHING, fields

from loopwright.calls import Block, Failure, Reply, Sent, Text, ToolCall, Usage
from loopwright.codec import encode
from loopwright.compiled import default, known
from loopwright.errors import BadInput
from loopwright.fixed import Fixed


def misfit(said: Any) -> str:
    """What cannot be kept of what a provider gave, and what to give in its place; or ``""``.

    >>> misfit(Failure("timeout", "late", status="504"))
    "its Failure.status is '504': give int or None"
    """
    return "" if _bare(said) else _wrong(said)


def filled(said: Any) -> Any:
    """The same with the default where `None` says that something is not known, as SDKs have it.

    Not what a call is made with: without its arguments it would be another one.

    >>> filled(Reply((Text("Hi.", provider=None),), tier=None)) == Reply((Text("Hi."),))
    True
    """
    if isinstance(said, tuple):
        return tuple(map(filled, said))
    given: Any = type(said)
    kind: Any = known(given)
    if kind not in _KINDS:
        return said
    return kind(**{one.name: _filled(one, getattr(said, one.name)) for one in fields(kind)})


def _filled(field: Any, held: Any) -> Any:
    if held is not None or field.default is NOTHING or field.name == "arguments":
        return filled(held)
    return default(field.default)


def _bare(said: Any) -> bool:
    """Whether it is a reply of words and flat calls, and nothing beside: what can be told at once,
    for a closer look takes many times as long."""
    if type(said) is not Reply:
        return False
    for block in said.blocks:
        if not _bare_block(block):
            return False
    words, usage = type(said.model) is str and type(said.finish) is str, said.usage
    plain = usage is None or (type(usage) is Usage and usage.raw == {})
    return words and plain and _beside_reply(said) == _NO_REPLY


def _bare_block(block: Any) -> bool:
    if type(block) is not ToolCall:
        words = type(block) is Text and type(block.text) is str
        return words and _beside_text(block) == _NO_TEXT
    if type(block.arguments) is not Fixed:
        return False
    for value in block.arguments.values():
        if type(value) not in _ATOMS:
            return False
    return type(block.name) is str and _beside_call(block) == _NO_CALL


def _beside(kind: Any, *read: str) -> tuple[Callable[[Any], Any], Any]:
    """What gets the fields of a `kind` but those that are `read`, and what it gets by default."""
    others = [one for one in fields(kind) if one.name not in read]
    return attrgetter(*(one.name for one in others)), tuple(default(o.default) for o in others)


_beside_reply, _NO_REPLY = _beside(Reply, "blocks", "finish", "model", "usage")
_beside_text, _NO_TEXT = _beside(Text, "text")
_beside_call, _NO_CALL = _beside(ToolCall, "id", "name", "arguments")
_ATOMS = frozenset({str, int, float, bool, NoneType})
_KINDS = (Reply, Failure, Sent, *get_args(Block))


def _wrong(said: Any) -> str:
    if not isinstance(said, Reply | Failure):
        return "no Reply or Failure"
    blocks = said.blocks if isinstance(said, Reply) else ()
    for one in (said, said.sent, *blocks):
        if wrong := _wrong_field(one):
            return wrong
    try:
        encode(said)
    except BadInput as error:
        return str(error)
    return ""


def _wrong_field(value: Any) -> str:
    """Which field of one of our values holds what it is not declared to hold, or ``""``. Ids get
    others, and a usage may be no report."""
    given: Any = type(value)
    kind: Any = known(given)
    if kind not in _KINDS:
        return f"{value!r:.80} is no block"
    for one in fields(kind):
        held, wanted = getattr(value, one.name), _classes(one.type)
        if one.name not in ("id", "usage") and not isinstance(held, wanted):
            names = " or ".join(each.__name__.removesuffix("Type") for each in wanted)
            return f"its {kind.__name__}.{one.name} is {held!r:.40}: give {names}"
    return ""


@cache
def _classes(declared: Any) -> tuple[type, ...]:
    """The classes of what a field that is declared so may hold."""
    origin = get_origin(declared)
    if origin is Literal:
        return (str,)
    if origin in (Union, UnionType):
        return tuple(each for one in get_args(declared) for each in _classes(one))
    return (declared, int) if declared in (float, bool) else (origin or declared,)
