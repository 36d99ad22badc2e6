"""What a server of Chat Completions answers: a stream of chunks, or one completion, as a reply."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, evolve, field

from loopwright.calls import (
    Block,
    DeltaKind,
    Failure,
    Finish,
    Opaque,
    Reply,
    Request,
    Text,
    ToolCall,
    Usage,
)
from loopwright.models import failures, strict
from loopwright.models.sse import DONE, Malformed
from loopwright.models.usage import amount, less, usage

THOUGHT, BESIDE, CALL = "reasoning", "beside", "call_extra"
"""The types of our own blocks for fields of a message (what was thought, and what else stood beside
the words), and of the tool call that follows the block."""

_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details")

_THINKS = frozenset(_THOUGHTS)

_MESSAGE = frozenset(
    {"role", "type", "content", "refusal", "tool_calls", "function_call", *_THOUGHTS}
)

_STOPS = ("", "stop", "eos", "eos_token", "stop_sequence", "tool_calls", "function_call")
"""All of them mean the same: servers leave the reason out, say that they stopped where they call
tools, or that they call tools where they call none. Those with "eos": Text Generation Inference."""

_FINISHES: Mapping[str, Finish] = {
    **dict.fromkeys(_STOPS, "stop"),
    "length": "length",
    "model_length": "length",
    "content_filter": "filter",
}
"""`model_length` is Mistral's word for the end of the context."""

_BROKEN = {
    "error": "server_error",
    "abort": "server_error",
    "insufficient_system_resource": "insufficient_system_resource",
}
"""Reasons that are failures, with their code: OpenRouter's and Mistral's, vLLM's, DeepSeek's."""


@define
class _Called:
    """A tool call while it comes."""

    index: int
    id: str = ""
    name: str = ""
    pieces: list[str] = field(factory=list)
    given: Any = None
    extra: dict[str, Any] = field(factory=dict)

    @property
    def written(self) -> Any:
        """The arguments: a text, or what came in place of one."""
        return "".join(self.pieces) if self.pieces else self.given


class Assembly:
    """Puts a completion together from the chunks of its stream, as plain data.

    It is whole if a reason to finish has come, and if that is empty, the mark at the stream's end.

    >>> assembly = Assembly(Request("m", []), "mine")
    >>> assembly.take({"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]})
    >>> assembly.answer({}).text
    'Hi'
    """

    def __init__(self, request: Request, name: str) -> None:
        self.done = False
        self.begun = False
        self._name = name
        self._asked = request.model
        self._tell = request.tell
        self._told: dict[str, str] = {}
        self._counted: Mapping[str, Any] = {}
        self._finish: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._refusal = ""
        self._message: dict[str, Any] = {}
        self._calls: list[_Called] = []
        self._at: dict[int, _Called] = {}
        self._error: Mapping[str, Any] | None = None

    @property
    def usage(self) -> Usage | None:
        return _usage(self._counted) if self._counted else None

    # --------------------------------------------------------------------------------- taking in

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the next chunk; one without choices may bring the usage, or an error."""
        if self.done:
            return
        if event.get("type") == DONE:
            self.done = True
            return
        self._count(event)
        for choice in event.get("choices") or ():
            if choice.get("index") in (0, None):
                self._choose(choice)
        error = (failures.error_in if event.get("error") else failures.error_event)(event)
        if error is None and "x_groq" in event:
            error = failures.error_in(event["x_groq"])
        if error is not None:
            self._error, self.done = error, True
        elif not event.get("choices") and self._finish and self._counted:
            self.done = True

    def whole(self, value: Mapping[str, Any]) -> None:
        """Take a completion that came at once. Raises `Malformed` if it is none."""
        if not value.get("choices") and failures.error_in(value) is None:
            raise Malformed("the answer is no completion: it has no choices")
        self.take(value)
        self._finish, self.done = self._finish or "", True

    def _count(self, event: Mapping[str, Any]) -> None:
        groq = event.get("x_groq")
        beside = groq.get("usage") if isinstance(groq, Mapping) else None
        for said in (beside, event.get("usage")):
            if said and isinstance(said, dict):
                self._counted = said
        for key in ("model", "service_tier"):
            if told := event.get(key):
                self._told[key] = str(told)

    def _choose(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta")
        self._say(delta or choice.get("message") or {}, whole=not delta)
        reason = choice.get("finish_reason")
        if reason is not None:
            self._finish = reason if isinstance(reason, str) else "unknown"
        if choice.get("usage"):
            self._counted = dict(choice["usage"])  # Moonshot
        if choice.get("error"):
            self._error = failures.error_in(choice)

    def _say(self, said: Mapping[str, Any], whole: bool) -> None:
        if not _THINKS.isdisjoint(said):
            self._think(said)
        content = said.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts or ():
            self._add(part)
        if said.get("refusal"):
            self._add({"type": "refusal", "refusal": said["refusal"]})
        for number, call in enumerate(said.get("tool_calls") or ()):
            self._call(call, number if whole else None)
        if _full(said.get("function_call")):
            self._call({"index": 0, "function": said["function_call"]})
        if not _MESSAGE.issuperset(said):
            self._beside(said)

    def _beside(self, said: Mapping[str, Any]) -> None:
        for key in said.keys() - _MESSAGE:
            if _full(said[key]):
                self._message[key] = _grown(self._message.get(key), said[key])

    def _think(self, said: Mapping[str, Any]) -> None:
        thought = {key: said[key] for key in _THOUGHTS if said.get(key)}
        for key, piece in thought.items():
            self._message[key] = _grown(self._message.get(key), piece)
        if thought:
            words = (one for one in thought.values() if isinstance(one, str))
            self._show("thinking", next(words, ""))

    def _add(self, part: Mapping[str, Any]) -> None:
        """A piece of the content: words go on where words were."""
        kind, text = part["type"], _words(part)
        if kind == "text" and not text:
            return
        self._show("thinking" if kind == "thinking" else "text", text)
        if kind == "refusal":
            self._refusal += text
        elif self._parts and kind in ("text", "thinking") and self._parts[-1]["type"] == kind:
            self._parts[-1] = _grown_part(self._parts[-1], part)
        else:
            self._parts.append(dict(part))

    def _show(self, kind: DeltaKind, text: Any) -> None:
        self.begun = True
        if self._tell is not None and isinstance(text, str) and text:
            self._tell(kind, text)

    # -------------------------------------------------------------------------------- tool calls

    def _call(self, said: Mapping[str, Any], number: int | None = None) -> None:
        function = said.get("function") or {}
        call = self._found(said, str(function.get("name") or ""), number)
        given = function.get("arguments")
        if isinstance(given, str):
            call.pieces.append(given)
            self._show("tool_call", given)
        elif given is not None:
            call.given = given
        for key in said.keys() - {"index", "id", "type", "function"}:
            if _full(said[key]):
                call.extra[key] = said[key]

    def _found(self, said: Mapping[str, Any], name: str, number: int | None) -> _Called:
        """The call that a piece belongs to, or a new one.

        Servers leave the index out, or give the same to all calls; but whoever brings a name and
        another id brings another call.
        """
        id_, given = str(said.get("id") or ""), said.get("index", number)
        index = None if given is None else int(given)  # some write it as a text
        call = self._last(name, id_) if index is None else self._at.get(index)
        if call is None or (name and id_ and call.id and id_ != call.id):
            at = max(self._at, default=-1) + 1 if index is None else index
            call = _Called(at)
            self._calls.append(call)
            self._at[at] = call
        call.id = call.id or id_
        if name and name != call.name:
            call.name += name
            self._show("tool_call", name)
        return call

    def _last(self, name: str, id_: str) -> _Called | None:
        """The last call, if a piece without an index goes on with it."""
        last = self._calls[-1] if self._calls else None
        if last is None or not name:
            return last
        return last if id_ and id_ == last.id and strict.arguments(last.written)[1] else None

    # ----------------------------------------------------------------------------------- and out

    def answer(self, headers: Mapping[str, str]) -> Reply | Failure:
        """The whole completion, or why there is none."""
        if self._finish in _BROKEN and self._error is None:
            self._error = {"code": _BROKEN[self._finish], "message": "the model was interrupted"}
        if self._error is not None:
            return evolve(failures.from_error(self._error, 200, headers), usage=self.usage)
        if not self._finish and not (self.done and self._finish == ""):
            return failures.cut(self.usage)
        calls = self._ordered()
        return Reply(
            blocks=tuple(self._blocks(calls)),
            finish=self._why(calls),
            usage=self.usage,
            model=self._told.get("model") or self._asked,
            tier=self._told.get("service_tier", ""),
        )

    def _ordered(self) -> list[_Called]:
        """The calls by their index. Raises `Malformed` if one is missing, or has no name."""
        known = sorted(self._at)
        if known and known[-1] - known[0] >= len(known):
            raise Malformed(f"there are tool calls {known[0]} to {known[-1]}, but not all of them")
        if not all(call.name for call in self._calls):
            raise Malformed("there is a tool call without a name")
        return sorted(self._calls, key=lambda call: call.index)

    def _why(self, calls: list[_Called]) -> Finish:
        reason = self._finish or ""
        if self._refusal:
            return "refusal"
        # Google adds what was filtered: "content_filter: OTHER".
        finish = _FINISHES.get(reason.partition(":")[0], "error")
        if finish != "stop" or not calls:
            return finish
        return "length" if any(_ends_early(call.written) for call in calls) else "tool_calls"

    def _blocks(self, calls: list[_Called]) -> Iterator[Block]:
        thought = {key: self._message[key] for key in _THOUGHTS if key in self._message}
        beside = {key: self._message[key] for key in self._message if key not in _THOUGHTS}
        if thought:
            yield Opaque(self._name, {"type": THOUGHT, **thought}, self._asked)
        for part in self._parts:
            if part["type"] == "text":
                yield Text(_words(part), self._name if beside else "", beside)
                beside = {}
            else:
                yield Opaque(self._name, part)
        if self._refusal:
            yield Text(self._refusal)
        if beside:
            yield Opaque(self._name, {"type": BESIDE, **beside})
        for call in calls:
            if call.extra:
                yield Opaque(self._name, {"type": CALL, **call.extra})
            yield ToolCall(call.id, call.name, *strict.arguments(call.written))


# --------------------------------------------------------------------------------- small pieces


def _full(value: Any) -> bool:
    """Whether there is anything in `value`: servers send empty objects for what they do not use."""
    if isinstance(value, dict):
        return any(map(_full, value.values()))
    return bool(value)


def _words(part: Mapping[str, Any]) -> str:
    """The words in a part; what was thought is a list of parts itself."""
    said = part.get(str(part["type"]))
    if isinstance(said, list):
        return "".join(_words(one) for one in said)
    return said if isinstance(said, str) else ""


def _grown_part(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(old["type"])
    return {**old, **new, kind: _grown(old[kind], new[kind])}


def _grown(old: Any, new: Any) -> Any:
    """`old` and what comes after it: texts and lists grow, pieces of one element of a list too."""
    if isinstance(old, str) and isinstance(new, str):
        return old + new
    if isinstance(old, list) and isinstance(new, list):
        return _merged([*old, *new])
    return _merged(new) if isinstance(new, list) else new


_PIECES = frozenset({"text", "summary", "thinking"})


def _merged(parts: list[Any]) -> list[Any]:
    """Pieces of words, that follow each other, as one."""
    found: list[Any] = []
    for part in parts:
        if found and _same(found[-1], part):
            grown = {key: _grown(found[-1].get(key), part[key]) for key in _PIECES & part.keys()}
            found[-1] = {**found[-1], **_known(part), **grown}
        else:
            found.append(part)
    return found


def _known(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if value is not None}


def _same(old: Any, new: Any) -> bool:
    if not isinstance(old, dict) or not isinstance(new, dict) or not _PIECES & new.keys():
        return False
    return all(old.get(key) == new.get(key) for key in ("type", "index"))


_LONGEST_PIECE = len("\\ud83d")
"""Characters of what is no JSON without its last one: an escape, a number, a word such as false."""


def _ends_early(written: Any) -> bool:
    """Whether arguments are the beginning of an object: a server may take a cut call for whole."""
    if not isinstance(written, str) or not written.strip():
        return False
    try:
        json.loads(written)
    except json.JSONDecodeError as error:
        text = written.rstrip()
        left = 0 if text.endswith("}") else _LONGEST_PIECE
        return error.msg.startswith("Unterminated") or error.pos >= len(text) - left
    except (ValueError, RecursionError):
        return False
    return False


def _usage(counted: Mapping[str, Any]) -> Usage | None:
    """`prompt_tokens` holds what was read from the cache, and what was written to it.

    A few servers leave what was thought out of `completion_tokens`, and count it in the total.
    """
    prompt = amount(counted, "prompt_tokens", missing=None)
    completion = amount(counted, "completion_tokens", missing=None)
    read = amount(counted, "prompt_tokens_details", "cached_tokens")
    if read == 0:
        read = amount(counted, "prompt_cache_hit_tokens")  # DeepSeek
    written = amount(counted, "prompt_tokens_details", "cache_write_tokens")
    thought = amount(counted, "completion_tokens_details", "reasoning_tokens")
    total = amount(counted, "total_tokens", missing=None)
    hidden = max(0, less(total, prompt, completion) or 0)
    visible = less(completion, None if thought is None else max(0, thought - hidden))
    return usage(
        counted,
        input_uncached=less(prompt, read, written),
        cache_read=read,
        cache_write_short=written,
        output_visible=visible,
        output_reasoning=None if thought is None else max(thought, hidden),
    )
