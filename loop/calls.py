"""Calls, what is about to happen, and what came of them. All frozen values.

A call is a `ModelCall`, a `ToolCall`, a `Question` to a person or a `Sleep`; it comes back as a
`Reply`, a `ToolResult`, an `Answer`, a `Slept`, or as a `Failure`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

from loopwright.fixed import fixed

NANO = 1_000_000_000
"""Money is counted in whole nano-dollars, so that sums are exact."""

Effect = Literal["read", "idempotent", "reconcilable", "unsafe"]
"""What repeating a tool call may do: see `loopwright.tools.tool`."""

Finish = Literal["stop", "tool_calls", "length", "refusal", "filter", "paused", "error"]
"""Why a model stopped, normalised over providers."""

FailureKind = Literal[
    "rate_limited",
    "overloaded",
    "quota_exhausted",
    "context_too_long",
    "bad_request",
    "not_authenticated",
    "not_permitted",
    "no_such_model",
    "too_large",
    "timeout",
    "connection",
    "cut_stream",
    "refused",
    "server_error",
    "malformed",
    "tool_error",
]
"""The closed set of ways in which a call does not succeed."""


# ---------------------------------------------------------------------------------------- money


@frozen
class Usage:
    """Tokens in disjoint buckets: their sum is what the provider counted.

    `raw` is the provider's own report.
    """

    input_uncached: int = 0
    cache_read: int = 0
    cache_write_short: int = 0
    cache_write_long: int = 0
    output_visible: int = 0
    output_reasoning: int = 0
    raw: Mapping[str, Any] = field(factory=dict)

    @property
    def input(self) -> int:
        """All tokens that went in, cached or not."""
        return (
            self.input_uncached + self.cache_read + self.cache_write_short + self.cache_write_long
        )

    @property
    def output(self) -> int:
        """All tokens that came out, visible or not."""
        return self.output_visible + self.output_reasoning

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.input + self.output


@frozen
class Cost:
    """What a call cost, in nano-dollars: between `low` and `high` where a tier is unknown.

    `table` names the price table: its name, version and digest.
    """

    low: int = 0
    high: int = 0
    table: str = ""


@frozen
class Quote:
    """What a call may cost at least and at most (nano-dollars), and at most how many tokens.

    `unpriced` says why nobody knows the price, where that is so.
    """

    low: int = 0
    high: int = 0
    tokens: int = 0
    unpriced: str = ""


# ------------------------------------------------------------------------------------- messages


@frozen
class Text:
    """Words, said by a person or a model.

    `extra` is what `provider` attached to them (citations, a phase): sent back to it as it came.
    """

    text: str
    provider: str = ""
    extra: Mapping[str, Any] = field(factory=dict)


@frozen
class Media:
    """An image or a document, as base64 `data` of the media type `mime`, or as a `url`.

    As an input of a task it is shown to the model before the prompt, in which its `name` stands.

    >>> Media("image/png", "iVBORw0KGgo=").kind
    'image'
    """

    mime: str
    data: str = ""
    url: str = ""
    name: str = ""

    @property
    def kind(self) -> Literal["image", "document"]:
        """What it is, by its media type."""
        return "image" if self.mime.startswith("image/") else "document"


@frozen
class Opaque:
    """A provider's own block (signed thinking, a reasoning item), kept and sent back as it came.

    `model` is the one that made it: to another model of the same provider it means nothing.
    """

    provider: str
    data: Mapping[str, Any]
    model: str = ""


@frozen
class ToolCall:
    """A model's wish that a tool be called; also the call itself.

    `malformed` says why the arguments could not be read, if they could not. `effect` is set from
    the tool before anybody is asked; `timeout` (seconds) holds in place of the tool's own. `extra`
    is what `provider` attached to it: sent back to it as it came.

    `purpose` says what the call is for: ``"reconcile"`` asks the tool whether a call in doubt has
    happened, ``"undo"`` takes back what one did, which is `undoable`. `quote` is what it may cost.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] = field(factory=dict, converter=fixed)
    malformed: str = ""
    effect: Effect | None = None
    timeout: float | None = None
    provider: str = ""
    extra: Mapping[str, Any] = field(factory=dict)
    purpose: Literal["call", "reconcile", "undo"] = "call"
    undoable: bool = False
    quote: Quote = Quote()


@frozen
class ToolResult:
    """What a tool gave back to `call`, as the model will read it.

    `outside` marks what came from outside: data, and never instructions.
    """

    call: str = ""
    content: str = ""
    error: bool = False
    outside: bool = False


Block = Text | Media | Opaque | ToolCall | ToolResult


def _blocks(blocks: Iterable[Block]) -> tuple[Block, ...]:
    return tuple(blocks)


@frozen
class Message:
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    blocks: tuple[Block, ...] = field(converter=_blocks)

    @property
    def text(self) -> str:
        """The words of the message, without its other blocks."""
        return "".join(block.text for block in self.blocks if isinstance(block, Text))


# ---------------------------------------------------------------------------------------- calls


@frozen
class Options:
    """How a model is asked. What a provider or a model does not have, it does not get.

    `effort` is how hard to think: ``"minimal"``, ``"low"``, ``"medium"``, ``"high"``, ``"max"``, or
    whatever else the model knows. `tool_choice` is ``"auto"``, ``"none"``, ``"required"`` or the
    name of a tool. Without `parallel_tools` a reply holds one tool call at most; with
    `strict_tools` the provider enforces the schema of the arguments where it can. `tier` is the
    provider's service tier. `extra` holds, by the name of the provider, what is put into the body
    of the request besides: objects are merged, lists joined, all else is replaced.

    >>> Options(effort="high", extra={"anthropic": {"inference_geo": "eu"}}).tool_choice
    'auto'
    """

    effort: str = ""
    tool_choice: str = "auto"
    parallel_tools: bool = True
    strict_tools: bool = False
    tier: str = ""
    extra: Mapping[str, Mapping[str, Any]] = field(factory=dict)


SUMMARY = "summary"
"""The purpose of a call whose reply stands for the messages before its `upto` from then on."""


@frozen
class Compaction:
    """What a model no longer sees, of the messages before `upto` but the first; the log keeps all.

    They are told as the `summary`; without one, all are there but for tool results, of which at
    most `longest` characters are left.
    """

    upto: int
    summary: str = ""
    longest: int = 0


@frozen
class ModelCall:
    """A model is asked. The conversation is the run's first `upto` messages, or `messages`.

    `purpose` is ``"answer"``, ``"summary"``, or the name of the judge that asks. `compaction` is
    what is left out of the conversation.
    """

    id: str
    model: str
    upto: int = 0
    max_tokens: int = 4096
    timeout: float | None = None
    purpose: str = "answer"
    messages: tuple[Message, ...] = ()
    quote: Quote = Quote()
    options: Options = Options()
    compaction: Compaction | None = None


@frozen
class Question:
    """A person is asked. `about` is the call that waits for the answer, if one does.

    `purpose` says what the answer is for: ``"approval"`` and ``"doubt"`` decide on the call
    `about`, ``"answer"`` takes the place of the model's answer.
    """

    id: str
    text: str
    purpose: Literal["approval", "doubt", "answer"] = "approval"
    choices: tuple[str, ...] = ()
    about: str = ""
    digest: str = ""


@frozen
class Sleep:
    """Nothing happens for `seconds`; then the call `about` is due again.

    An `idle` one waits for its turn, which is not working time.
    """

    id: str
    seconds: float
    about: str = ""
    idle: bool = False


Call = ModelCall | ToolCall | Question | Sleep


# ------------------------------------------------------------------------------ what comes back


@frozen
class Sent:
    """What a provider was sent, as far as it matters afterwards.

    `prefix` is the digest of all that stood before the newest turn, which is what a provider's
    cache can hold; `changed` names the first part of it that is another than at the call before.
    `repairs` are the changes that made the conversation one that the provider accepts.
    """

    prefix: str = ""
    changed: str = ""
    repairs: tuple[str, ...] = ()


@frozen
class Reply:
    """What the model said.

    `model` is the one that the provider says it served; in the events it is left out where it is
    the one that was asked for. `details` is what the provider says of the `finish`, such as the
    category of a refusal.
    """

    blocks: tuple[Block, ...] = field(default=(), converter=_blocks)
    finish: Finish = "stop"
    usage: Usage | None = None
    model: str = ""
    tier: str = ""
    request_id: str = ""
    first_token: float | None = None
    sent: Sent = Sent()
    details: Mapping[str, Any] = field(factory=dict)

    @property
    def text(self) -> str:
        """The words of the reply."""
        return "".join(block.text for block in self.blocks if isinstance(block, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls that the reply asks for."""
        return tuple([block for block in self.blocks if isinstance(block, ToolCall)])


@frozen
class Answer:
    """What a person said: one of the question's choices if it has any, and maybe a note."""

    text: str
    by: str = ""
    note: str = ""


@frozen
class Slept:
    """The time is over."""


@frozen
class Failure:
    """A call that did not succeed.

    `retry_after` is in seconds, as the provider asked. `may_resend` says that sending the same
    again may help. `usage` is what was billed all the same, as far as it is known.
    """

    kind: FailureKind
    message: str
    retry_after: float | None = None
    may_resend: bool = False
    status: int | None = None
    request_id: str = ""
    usage: Usage | None = None
    sent: Sent = Sent()


Result = Reply | ToolResult | Answer | Slept


# ---------------------------------------------------------------------- what a provider is given


@frozen
class ToolSpec:
    """A tool as a model sees it: `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: Mapping[str, Any]


@frozen
class Output:
    """How a typed answer must look: the JSON `schema`, and the same as an `instruction` in words.

    A provider that can enforce a schema is given that, any other model the words.
    """

    schema: Mapping[str, Any]
    instruction: str


DeltaKind = Literal["text", "thinking", "tool_call"]

Tell = Callable[[DeltaKind, str], object]
"""Who is told of each piece of a reply while it comes: its kind, and the new characters. Of a tool
call these are the name in a piece of its own, and then the JSON of the arguments."""


@frozen
class Delta:
    """A piece of what a model says, while it says it: for people to see, and never in the log.

    `call` is the id of the model call. Of a tool call the first piece is its name.
    """

    call: str
    kind: DeltaKind
    text: str


@frozen
class Request:
    """What one model call sends: the portable form that every provider translates.

    `model` is the provider's own name of the model, `timeout` the seconds for the whole call.
    Requests with the same `prefix_key` begin alike. `tell` is told what comes while it comes.
    """

    model: str
    messages: Sequence[Message]
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    max_tokens: int = 4096
    timeout: float = 600.0
    output: Output | None = None
    options: Options = Options()
    prefix_key: str = ""
    tell: Tell | None = field(default=None, eq=False, repr=False)

    @property
    def instructions(self) -> str:
        """The system text for a model that has to be told in words how the answer must look."""
        words = (self.system, self.output.instruction if self.output else "")
        return "\n\n".join(filter(None, words))
