"""`Task`: what is wanted, and what counts as done."""

import base64
import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from string import Formatter
from typing import Any, Protocol

from attrs import field, frozen

from loopwright.calls import Effect, Media, Options, Output, Quote, ToolCall, ToolSpec
from loopwright.codec import digest, plain, told
from loopwright.errors import BadInput
from loopwright.given import asynchronous, listed, whole

FRAME = 128
"""Tokens that a provider puts around a conversation by itself: twice the most that was met (of
gpt-oss, some 60)."""

_TOOLS_FRAME = 1000
"""Tokens with which a provider explains to the model how tools are called: platform.claude.com/docs
names some 300 to 500 a model; twice the most."""

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Tool(Protocol):
    """What the loop needs to know of a tool; `loopwright.tools.tool` makes them.

    A tool may have more, which is then used: `undo` (a tool that takes back what it did),
    `reconcile` (a function that says whether a call happened), `retries`, `cache_seconds`,
    `at_once` (how many calls at the same time), `labels`, `quote` (what a call may cost),
    `ceilings` (those that it shares with other runs), `wants_key` and `wants_place` (it is given
    the call's key, or its `Place`).
    """

    @property
    def spec(self) -> ToolSpec: ...
    @property
    def effect(self) -> Effect: ...
    @property
    def timeout(self) -> float: ...
    @property
    def asynchronous(self) -> bool: ...
    @property
    def function(self) -> Callable[..., Any]: ...
    def bind(
        self, arguments: Mapping[str, Any], key: str = ""
    ) -> tuple[tuple[Any, ...], dict[str, Any]]: ...
    def render(self, value: Any) -> str: ...


class Asks(Protocol):
    """A check that asks a model, such as `Judge`.

    Beside these it has ``read(reply)``, which gives `None` or the problem in words; or, if it asks
    for several ballots, ``count(replies, run)``. It may have a `name`, which stands in the log, and
    the `model` that it asks, in place of the run's.
    """

    @property
    def max_tokens(self) -> int:
        """The most output tokens of a verdict."""
        ...

    def ask(self, run: Any) -> Any:
        """What the model is asked about the run's answer: messages, or several ballots of them."""
        ...


Check = Callable[..., Any] | Asks


def _fields(template: str) -> tuple[str, ...]:
    """The names that a prompt template asks for, in order."""
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise BadInput(
            f"the prompt cannot be read: {error}; a literal brace is doubled: {{{{ }}}}"
        ) from None
    names = [name for _, name, spec, conversion in pieces if name is not None]
    for _, name, spec, conversion in pieces:
        if name is not None and (not _FIELD.match(name) or spec or conversion):
            raise BadInput(
                f"the prompt asks for {{{name}}}: only plain names such as {{city}} can be filled "
                "in; a literal brace is doubled: {{ }}"
            )
    return tuple(dict.fromkeys(names))


def _by_name(tools: Iterable[Tool]) -> dict[str, Tool]:
    named: dict[str, Tool] = {}
    for tool in listed("tools", tools, "is no tool: decorate the function with @tool", "spec"):
        if tool.spec.name in named:
            raise BadInput(
                f"two tools are called {tool.spec.name!r}: give one of them another name"
            )
        named[tool.spec.name] = tool
    return named


def _checks(checks: Iterable[Check]) -> tuple[Check, ...]:
    given: tuple[Check, ...] = listed("checks", checks)
    for check in given:
        if hasattr(check, "ask") and not isinstance(check, type):
            _check_judge(check)
        elif isinstance(check, type) or not callable(check):
            raise BadInput(
                f"{check!r} is no check: give a function, or an object such as Judge(...)"
            )
        elif asynchronous(check):
            raise BadInput(f"{check!r} is async: a check is a plain function; a Judge asks a model")
    return given


def _check_judge(check: Any) -> None:
    """What a judge lacks would show only as an answer of which it could not tell."""
    reads = any(callable(getattr(check, name, None)) for name in ("read", "count"))
    most = getattr(check, "max_tokens", None)
    if not reads or type(most) is not int or most < 1:
        raise BadInput(
            f"{check!r:.80} asks a model: give it max_tokens, a whole number from 1, and "
            "read(reply) or count(replies, run)"
        )


@frozen(eq=False)
class Task:
    """What is wanted, and what counts as done.

    `prompt` is a template: ``{city}`` is filled with the input `city`; a literal brace is doubled.
    `output` is the type of the answer: `str`, or anything that JSON can express (attrs classes,
    dataclasses, TypedDict, pydantic models, Literal, unions, lists of them).
    `checks` are functions that take the answer (and, if they have a second parameter, the run) and
    return `None` or the problem in words; a `Judge` is a check that asks a model.
    `limits` is a `Budget` of the task's own. `max_tokens` bounds the output tokens of each model
    call. `system` are standing instructions. `options` say how the model is asked. `label` names
    this version of the prompt for people; the digest `version` names it in any case. An input that
    is a `Media`, or a list of them, is shown to the model as the image or document that it is.

    From these follow `fields` (the inputs that the prompt needs), `schema` (of the output type),
    `specs` (the tools as the model sees them), `form` (how a typed answer must look), `weight` (the
    most tokens that these can add to a request) and the digests `version` (of prompt and system
    text), `expects` (of the output type) and `digests` (of each tool), so that a change shows.

    Raises `BadInput` for a prompt, tool, check or output type that cannot work.

    >>> Task("Say hello to {name}.").filled({"name": "Ada"})
    'Say hello to Ada.'
    """

    prompt: str
    output: Any = field(default=str, kw_only=True)
    tools: Mapping[str, Tool] = field(factory=dict, converter=_by_name, kw_only=True)
    checks: tuple[Check, ...] = field(default=(), converter=_checks, kw_only=True)
    name: str = field(default="", kw_only=True)
    label: str = field(default="", kw_only=True)
    system: str = field(default="", kw_only=True)
    limits: Any = field(default=None, kw_only=True)
    max_tokens: int = field(default=4096, kw_only=True)
    options: Options = field(default=Options(), kw_only=True)
    version: str = field(init=False)
    expects: str = field(init=False, repr=False)
    fields: tuple[str, ...] = field(init=False)
    schema: Any = field(init=False, repr=False)
    specs: tuple[ToolSpec, ...] = field(init=False, repr=False)
    form: Output | None = field(init=False, repr=False)
    weight: int = field(init=False, repr=False)
    digests: Mapping[str, str] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise BadInput("a task needs a prompt: Task('Summarise {text}.')")
        if not all(isinstance(text, str) for text in (self.system, self.name, self.label)):
            raise BadInput("system, name and label of a task are texts")
        _check_options(self.options, self.tools)
        whole("max_tokens", self.max_tokens)
        object.__setattr__(self, "version", digest(self.prompt, self.system))
        object.__setattr__(self, "fields", _fields(self.prompt))
        object.__setattr__(self, "schema", self._schema())
        object.__setattr__(self, "expects", digest(self.schema.json) if self.schema else "")
        object.__setattr__(self, "specs", tuple(tool.spec for tool in self.tools.values()))
        object.__setattr__(self, "form", self._form())
        object.__setattr__(self, "weight", self._weight())
        object.__setattr__(self, "digests", self._digests())

    def _schema(self) -> Any:
        if self.output is str:
            return None
        from loopwright.schema import Schema

        return Schema.of(self.output)

    @property
    def title(self) -> str:
        """The name, or else the beginning of the prompt."""
        line = self.prompt.strip().splitlines()[0]
        return self.name or (line if len(line) <= 40 else f"{line[:39]}…")

    def _form(self) -> Output | None:
        if self.schema is None:
            return None
        words = (
            "When you give your final answer, give only one JSON value that fits this JSON Schema, "
            f"and nothing around it:\n{told(self.schema.json)}"
        )
        return Output(self.schema.json, words)

    def _digests(self) -> dict[str, str]:
        return {name: digest(tool.spec, tool.effect) for name, tool in self.tools.items()}

    def _weight(self) -> int:
        tools = "".join(f"{t.name}{t.description}{told(t.schema)}" for t in self.specs)
        form = f"\n\n{self.form.instruction}" if self.form else ""
        said = f"{self.system}{form}{tools}"
        framing = FRAME + (_TOOLS_FRAME if self.specs else 0) + 64 * len(self.specs)
        return len(said.encode(errors="replace")) + framing

    def filled(self, inputs: Mapping[str, Any]) -> str:
        """The prompt with its inputs. Raises `BadInput` if one is missing or unknown."""
        missing = [name for name in self.fields if name not in inputs]
        unknown = [name for name in inputs if name not in self.fields]
        if missing or unknown:
            raise BadInput(self._misfit(missing, unknown))
        return "".join(
            literal + ("" if name is None else _shown(name, inputs[name]))
            for literal, name, _, _ in Formatter().parse(self.prompt)
        )

    def media(self, inputs: Mapping[str, Any]) -> tuple[Media, ...]:
        """The images and documents among the inputs, in the order of the prompt."""
        return tuple(shown for name in self.fields for shown in _media(inputs[name]))

    def _misfit(self, missing: list[str], unknown: list[str]) -> str:
        said = [f"the prompt of {self.title!r} needs the input {name!r}" for name in missing]
        for name in unknown:
            near = difflib.get_close_matches(str(name), self.fields, 1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            said.append(f"the prompt of {self.title!r} has no input {name!r}{hint}")
        return "; ".join(said)

    def is_outside(self, name: str) -> bool:
        """Whether what the tool of this name gives comes from outside."""
        return "outside" in getattr(self.tools.get(name), "labels", ())

    def resolved(self, call: ToolCall) -> ToolCall:
        """The call with its tool's effect class, and what it may cost, if the tool is known."""
        tool: Any = self.tools.get(call.name)
        if tool is None:
            return call
        undo = getattr(tool, "undo", None)
        return ToolCall(
            call.id,
            call.name,
            _copied(call.arguments),
            call.malformed,
            undo.effect if undo and call.purpose == "undo" else tool.effect,
            call.timeout,
            call.provider,
            call.extra,
            call.purpose,
            undo is not None,
            getattr(tool, "quote", NOTHING) if call.purpose == "call" else NOTHING,
        )


NOTHING = Quote()


def _copied(data: Any) -> Any:
    """Plain data once more, that nobody else has."""
    kind = type(data)
    if kind is str or kind is int:
        return data
    if isinstance(data, Mapping):
        return {key: _copied(held) for key, held in data.items()}
    return kind(map(_copied, data)) if kind is list or kind is tuple else data


def a_task(given: Any) -> Task:
    """`given`, if it is a task. Raises `BadInput`."""
    if not isinstance(given, Task):
        raise BadInput(f"{given!r:.80} is no task: give a Task, as in Task('Summarise {{text}}.')")
    return given


def _check_options(options: Any, tools: Mapping[str, Tool]) -> None:
    if not isinstance(options, Options):
        raise BadInput(f"options={options!r}: give Options(effort='high'), for example")
    for name in ("effort", "tool_choice", "tier"):
        if not isinstance(getattr(options, name), str):
            raise BadInput(f"Options({name}={getattr(options, name)!r}): give a text")
    choices = ("auto", "none", "required", *tools)
    if options.tool_choice not in choices:
        said = ", ".join(map(repr, choices))
        raise BadInput(f"Options(tool_choice={options.tool_choice!r}): say one of {said}")
    try:
        known = all(isinstance(held, Mapping) for held in options.extra.values())
        json.dumps(plain(options.extra), allow_nan=False)
    except (AttributeError, TypeError, ValueError, BadInput) as error:
        raise BadInput(f"Options(extra=...): this is no JSON data: {error}") from None
    if not known:
        raise BadInput("Options(extra=...): give an object by the name of each provider")


def _check_media(name: str, media: Media) -> None:
    if bool(media.data) == bool(media.url):
        raise BadInput(f"the input {name!r}: a Media has either data or a url")
    try:
        base64.b64decode(media.data, validate=True)
    except ValueError:
        raise BadInput(
            f"the input {name!r}: the data of a Media is base64, without 'data:' before it"
        ) from None


def _media(value: Any) -> tuple[Media, ...]:
    """A value that is an image or a document, or a list of nothing else."""
    if isinstance(value, Media):
        return (value,)
    listed = isinstance(value, list | tuple) and value
    return tuple(value) if listed and all(isinstance(one, Media) for one in value) else ()


def _shown(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if media := _media(value):
        for one in media:
            _check_media(name, one)
        return ", ".join(f"[{one.kind} {one.name or name}]" for one in media)
    try:
        return told(value)
    except BadInput as error:
        raise BadInput(f"the input {name!r} cannot be put into the prompt: {error}") from None
