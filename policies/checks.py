"""Checks that need no model: `Cites`, `Matches`, `MaxWords`, `NoPlaceholders`."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

import attrs
from attrs import frozen, validators

from loopwright.calls import Text, ToolResult
from loopwright.errors import BadInput
from loopwright.policies.given import at_least, listed, text
from loopwright.policies.spans import spans
from loopwright.run import Run


def _pattern(check: Any, attribute: Any, pattern: Any) -> None:
    try:
        if not isinstance(pattern, str):
            raise TypeError("it is no text")
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise BadInput(
            f"{type(check).__name__}({pattern!r}): give a regular expression: {error}"
        ) from None


@frozen
class Matches:
    """The answer fits the regular expression `pattern`, somewhere in it.

    Of a typed answer, `field` is the one that is looked at, and without it all its texts, each of
    which stands on lines of its own. `why` is told to the model in place of the pattern. Raises
    `BadInput` for what is no regular expression.

    >>> Matches(r"^Dear ", why="Begin with 'Dear'.")("Hi Ada")
    "Begin with 'Dear'."
    """

    pattern: str = attrs.field(validator=_pattern)
    field: str = attrs.field(default="", validator=text)
    why: str = attrs.field(default="", validator=text, kw_only=True)

    def __call__(self, answer: Any) -> str | None:
        """The problem, or `None`."""
        if re.search(self.pattern, text_of(answer, self.field), re.MULTILINE):
            return None
        return self.why.strip() or f"{_place(self.field)} has to fit the pattern {self.pattern}"


@frozen
class MaxWords:
    """The answer has at most `most` words.

    A word is what stands between spaces. Of a typed answer, `field` is the one whose words count,
    and without it those of all its texts. Raises `BadInput` for less than one word.

    >>> MaxWords(2)("Hello dear Ada")
    'The answer has 3 words: use at most 2.'
    """

    most: int = attrs.field(validator=at_least(1, whole=True))
    field: str = attrs.field(default="", validator=text)

    def __call__(self, answer: Any) -> str | None:
        """The problem, or `None`."""
        words = len(text_of(answer, self.field).split())
        if words <= self.most:
            return None
        return f"{_place(self.field)} has {words} words: use at most {self.most}."


PLACEHOLDERS = (
    r"\{\{[^{}]*\}\}",  # a template that was not filled in
    r"\[(?:your|insert|name|date|company|city|link|url|placeholder|todo|tbd)\b[^\]]*\](?!\()",
    r"<(?:your|insert|placeholder)\b[^>]*>",
    r"\b(?:TODO|TBD|FIXME|XXX+)\b",
    r"\blorem ipsum\b",
    r"_{4,}",
)
"""What templates, forms and models leave to be filled in. References such as [1], links in
Markdown, and HTML are none."""


def _more(patterns: Any) -> tuple[str, ...]:
    return listed("NoPlaceholders", "regular expressions", patterns)


@frozen
class NoPlaceholders:
    """The answer leaves nothing to be filled in: no ``[Your name]``, ``{{city}}``, ``TODO``.

    `more` are regular expressions of further placeholders; those of `PLACEHOLDERS` are looked for
    in any case, and without regard to upper and lower case. Raises `BadInput` for what is no
    regular expression.

    >>> NoPlaceholders()("Dear [Name], welcome to {{city}}!")
    'Fill in what is left open: [Name], {{city}}'
    """

    more: tuple[str, ...] = attrs.field(
        default=(), converter=_more, validator=validators.deep_iterable(_pattern)
    )

    def __call__(self, answer: Any) -> str | None:
        """The problem, or `None`."""
        text = text_of(answer)
        places = spans((*PLACEHOLDERS, *self.more), text, re.IGNORECASE)
        found = dict.fromkeys(text[start:end] for start, end in places)
        return f"Fill in what is left open: {', '.join(found)}" if found else None


QUOTED = r"https?://[^\s<>()\[\]\"'”`]+|\"([^\"]{20,})\"|“([^”]{20,})”"
"""Addresses of the web, and what stands in quotation marks and is long enough to be no title."""


@frozen
class Cites:
    """What the answer cites stands in what the run was given: in its prompt, or by its tools.

    A citation is what fits `pattern`, or of that the first group that does: by default addresses of
    the web, and quotations of at least 20 characters. Spaces, and punctuation at the end, may
    differ. An address has to be a whole one, but for its fragment. The answer needs at least
    `least` citations, by default one. Of a typed answer, `field` is the one that is looked at.

    It finds what was made up, and does not say whether a true quotation proves anything: that is
    for a `Judge`. Raises `BadInput` for what is no regular expression.

    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> task = Task("The source: https://a.example/1. What does it say?", checks=[Cites()])
    >>> run = Loop(Scripted(["All is well, see https://a.example/2."])).run_now(task)
    >>> run.problems[0].text
    'These citations stand in no source that you were given: https://a.example/2'
    """

    least: int = attrs.field(default=1, validator=at_least(0, whole=True))
    field: str = attrs.field(default="", validator=text)
    pattern: str = attrs.field(default=QUOTED, validator=_pattern, kw_only=True)

    def __call__(self, answer: Any, run: Run) -> str | None:
        """The problem, or `None`."""
        cited = list(self._cited(text_of(answer, self.field)))
        given = " ".join(" ".join(_given(run)).split())
        made_up = [one for one in cited if not _stands(one, given)]
        if made_up:
            listed = ", ".join(dict.fromkeys(made_up))
            return f"These citations stand in no source that you were given: {listed}"
        if len(cited) < self.least:
            return f"Cite your sources word for word: at least {self.least}, here are {len(cited)}."
        return None

    def _cited(self, text: str) -> Iterator[str]:
        for found in re.finditer(self.pattern, text):
            cited = next(filter(None, found.groups()), found[0])
            yield " ".join(cited.split()).rstrip(".,;:!?*")


_GOES_ON = r"(?![/.?:!*&=%+~@$-]*[A-Za-z0-9_])"
"""Behind an address that ends here. A comma may be that of a list, and after ``#`` comes a place in
the same document."""


def _stands(cited: str, given: str) -> bool:
    """Whether it was given; of an address the beginning of another is none."""
    if not cited.startswith(("http://", "https://")):
        return cited in given
    return re.search(re.escape(cited.rstrip("/")) + _GOES_ON, given) is not None


def _given(run: Run) -> Iterator[str]:
    """What the model was given to read; what it has said itself is no source."""
    for block in (b for message in run.messages for b in message.blocks):
        if isinstance(block, ToolResult) and not block.error:
            yield from (block.content, _unescaped(block.content))
    yield from (block.text for block in run.messages[0].blocks if isinstance(block, Text))


def _unescaped(content: str) -> str:
    """What a tool or a delegate has put into JSON, as it is quoted."""
    try:
        return text_of(json.loads(content))
    except (ValueError, RecursionError):
        return ""


# --------------------------------------------------------------------------- the texts of an answer


def text_of(answer: Any, field: str = "") -> str:
    """All texts in an answer, or in one `field` of it, a line each.

    Raises `BadInput` if it has no such field.

    >>> text_of({"headline": "Sun", "body": ["Come!", 1]})
    'Sun\\nCome!'
    """
    return "\n".join(_texts(_part(answer, field) if field else answer))


def _part(answer: Any, field: str) -> Any:
    held = answer if isinstance(answer, Mapping) else _held(answer)
    if field not in held:
        raise BadInput(f"the answer has no field {field!r}: it has {', '.join(held) or 'none'}")
    return held[field]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Enum):
        yield from _texts(value.value)
    elif isinstance(value, Mapping):
        yield from (text for held in value.values() for text in _texts(held))
    elif isinstance(value, Iterable) and not isinstance(value, bytes):
        yield from (text for held in value for text in _texts(held))
    else:
        yield from (text for held in _held(value).values() for text in _texts(held))


def _held(value: Any) -> Mapping[str, Any]:
    """The fields of an object: an attrs class with slots has no `__dict__`."""
    if attrs.has(type(value)):
        return {one.name: getattr(value, one.name) for one in attrs.fields(type(value))}
    if isinstance(value, tuple):
        return getattr(value, "_asdict", dict)()
    return getattr(value, "__dict__", {})


def _place(field: str) -> str:
    return f"The field {field!r}" if field else "The answer"
