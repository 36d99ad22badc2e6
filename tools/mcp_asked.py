"""What an MCP server wants to know of a person ("elicitation"), as questions and answers."""

import math
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any

from loopwright.calls import Answer, Question
from loopwright.errors import BadInput
from loopwright.live import threaded
from loopwright.port import fitting
from loopwright.tools.mcp_bounds import errors
from loopwright.tools.mcp_told import of_schema, problem

Ask = Callable[[Question], "str | Answer | Awaitable[str | Answer | None] | None"]
"""Who answers a server's questions; `None` means that nobody is there, or wants to answer."""

_YES_NO = ("yes", "no")


async def answered(ask: Ask, who: str, params: Any) -> Any:
    """What the SDK gives the server: the answers, a refusal, or an error that says what is wrong.

    A form becomes a question for each of its fields, an address to open a question yes or no.
    """
    from mcp_types import INVALID_PARAMS, ElicitResult, ErrorData

    try:
        if params.mode == "url":
            return ElicitResult(action="accept" if await _opened(ask, who, params) else "decline")
        content = await _filled(ask, who, params.message, params.requested_schema)
    except Exception as error:  # whatever the user's `ask` raises: the call goes on without it
        return ErrorData(code=INVALID_PARAMS, message=f"no answer: {error}")
    return ElicitResult(action="cancel" if content is None else "accept", content=content)


async def _opened(ask: Ask, who: str, params: Any) -> bool:
    text = f"{who} asks you to open {params.url}\n{params.message}"
    answer = await _said(ask, Question(f"{who}-url", text, "answer", _YES_NO))
    return answer is not None and answer.text == "yes"


async def _filled(
    ask: Ask, who: str, message: str, schema: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The form, field by field; None as soon as nobody answers."""
    required = schema.get("required", ())
    content: dict[str, Any] = {}
    for name, form in schema.get("properties", {}).items():
        question = asked(who, message, name, form, name in required)
        answer = await _said(ask, question)
        if answer is None:
            return None
        if answer.text or name in required:
            content[name] = value(answer.text, form)
    return _fitting(content, schema)


def asked(
    who: str, message: str, name: str, form: Mapping[str, Any], required: bool = True
) -> Question:
    """The question for one field of a form.

    >>> asked("shop", "Which size?", "size", {"type": "string", "enum": ["S", "L"]}).text
    'shop asks: Which size?\\nsize'
    """
    title, about = form.get("title") or name, form.get("description", "")
    field = f"{title}: {about}" if about else title
    several = form.get("type") == "array"
    choices = _choices(form["items"] if several and "items" in form else form)
    notes = [f"any of {', '.join(choices)}, with commas between them"] if several else []
    notes += [] if required or (choices and not several) else ["may be left empty"]
    text = f"{who} asks: {message}\n{field}" + "".join(f" ({note})" for note in notes)
    return Question(f"{who}-{name}", text, "answer", () if several else choices)


def _choices(form: Mapping[str, Any]) -> tuple[str, ...]:
    """What the field can be, if that is a list."""
    if form.get("type") == "boolean":
        return _YES_NO
    titled = form.get("oneOf") or form.get("anyOf") or ()
    listed = form.get("enum") or [one["const"] for one in titled if "const" in one]
    return tuple(map(str, listed))


async def _said(ask: Ask, question: Question) -> Answer | None:
    """In a thread that nobody waits for at the end: a person at a terminal may never answer."""
    said = await threaded(lambda: ask(question))
    answer = await said if isawaitable(said) else said
    return None if answer is None else fitting(question, answer)


def value(text: str, form: Mapping[str, Any]) -> Any:
    """What a person wrote, as the type that the field has; a list is parted by commas.

    Raises `BadInput` for what is no number.

    >>> value("1, 2", {"type": "array"})
    ['1', '2']
    """
    kind = form.get("type")
    if kind == "boolean":
        return text == "yes"
    if kind == "array":
        return [piece.strip() for piece in text.split(",") if piece.strip()]
    if kind not in ("integer", "number"):
        return text
    try:
        number = int(text) if kind == "integer" else float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(f"{text!r} is no {kind}")
    return number


def _fitting(content: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    for error in errors(of_schema(dict(schema)), content):
        raise BadInput(f"the answer does not fit: {problem(error)}")
    return content
