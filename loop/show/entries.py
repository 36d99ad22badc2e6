"""Entries: what a page shows of each call, decision and finding of a run, as plain texts."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import define, field

from loopwright.calls import (
    Answer,
    Block,
    Call,
    Cost,
    Media,
    ModelCall,
    Question,
    Reply,
    Sent,
    Sleep,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from loopwright.codec import plain
from loopwright.events import Intended, Returned
from loopwright.show.figures import money, span
from loopwright.show.lines import pretty

Kind = Literal["model", "tool", "decision", "problem", "person", "wait", "run"]
"""What an entry is about, and what a page is filtered by."""


@define
class Entry:
    """What is shown of a call and its outcome, of a decision, or of another event.

    `seqs` are the numbers of its events, `call` is the id of the call that it is about. Of a text
    it says whether it is code: data, or what a program gave back.
    """

    seqs: list[int]
    kind: Kind
    head: str
    start: float
    end: float | None = None
    state: str = ""
    failed: bool = False
    policy: str = ""
    call: str = ""
    facts: list[tuple[str, str]] = field(factory=list)
    texts: list[tuple[str, str, bool]] = field(factory=list)

    def fact(self, **facts: Any) -> None:
        """More figures: those that say something. In a name ``_`` is a space."""
        told = ((name, held) for name, held in facts.items() if held not in _NOTHING)
        self.facts += [(name.replace("_", " "), str(held)) for name, held in told]

    def text(self, **texts: Any) -> None:
        """More texts: those that say something; data is shown as JSON."""
        held = ((name.replace("_", " "), value) for name, value in texts.items())
        for name, value in held:
            if value:
                code = not isinstance(value, str) or name in _CODE
                self.texts.append((name, pretty(plain(value)), code))


_NOTHING: tuple[Any, ...] = (None, "", (), [])
_CODE = ("traceback", "result", "policies")

# ------------------------------------------------------------------------------ calls, as intended


def intended(seq: int, event: Intended) -> Entry:
    """The entry of a call that is about to be made."""
    kind, head = _named(event.call)
    entry = Entry([seq], kind, head, event.time, call=event.call.id)
    entry.fact(call=event.call.id)
    _asked(entry, event.call)
    return entry


def _named(call: Call) -> tuple[Kind, str]:
    match call:
        case ModelCall(model=model, purpose=purpose):
            return "model", model if purpose == "answer" else f"{model}, as {purpose}"
        case ToolCall(name=name, purpose=purpose):
            return "tool", name if purpose == "call" else f"{name}, to {purpose}"
        case Question(purpose=purpose):
            return "person", f"a question to a person: {purpose}"
        case Sleep(seconds=seconds, idle=idle):
            return "wait", f"{'waits for its turn' if idle else 'sleeps'} for {span(seconds)}"


def _asked(entry: Entry, call: Call) -> None:
    match call:
        case ModelCall():
            _asked_model(entry, call)
        case ToolCall():
            entry.fact(effect=call.effect, timeout=call.timeout and span(call.timeout))
            entry.text(arguments=call.arguments, malformed=call.malformed)
        case Question():
            entry.fact(about=call.about, choices=", ".join(call.choices))
            entry.text(question=call.text)
        case Sleep():
            entry.fact(before=call.about)


def _asked_model(entry: Entry, call: ModelCall) -> None:
    shown = len(call.messages) or call.upto
    entry.fact(
        shown=f"{shown} message{'s' * (shown != 1)}",
        at_most=f"{call.max_tokens:,} tokens out",
        quoted=f"at most {money(call.quote.high)} USD" if call.quote.high else "",
        unpriced=call.quote.unpriced,
        timeout=call.timeout and span(call.timeout),
    )
    options = plain(call.options)
    entry.text(options={name: held for name, held in options.items() if name != "is"})
    entry.text(left_out=call.compaction)
    for message in call.messages:
        for block in message.blocks:
            said(entry, block, message.role)


def said(entry: Entry, block: Block, by: str) -> None:
    """A block of a message, in an entry."""
    match block:
        case Text(text):
            entry.texts.append((by, text, False))
        case ToolCall(name=name, arguments=arguments, id=id):
            entry.texts.append((f"{by} calls {name} as {id}", pretty(plain(arguments)), True))
        case ToolResult(content=content):
            entry.text(result=content)
        case Media(mime=mime, url=url, data=data, name=name):
            where = url or f"{len(data) * 3 // 4:,} bytes"
            entry.fact(media=f"{name} {mime}, {where}".strip())
        case _:
            entry.text(thinking=block.data)


# ------------------------------------------------------------------------------ what came of them


def returned(entry: Entry, event: Returned) -> None:
    """The call succeeded."""
    entry.state = "returned"
    entry.fact(took=span(event.seconds))
    entry.fact(cached="the result was kept from an earlier call" if event.cached else "")
    _paid(entry, event.cost)
    match event.result:
        case Reply() as reply:
            _replied(entry, reply)
        case ToolResult(content=content, error=error, outside=outside):
            entry.failed = error
            entry.fact(outside="from outside: data, never instructions" if outside else "")
            entry.text(result=content)
        case Answer(text=text, by=by, note=note):
            entry.state = "answered"
            entry.fact(by=by)
            entry.text(answer=text, note=note)


def _paid(entry: Entry, cost: Cost) -> None:
    if cost.high:
        low = f"{money(cost.low)} to " if cost.low != cost.high else ""
        entry.fact(cost=f"{low}{money(cost.high)} USD", prices=cost.table)


def _replied(entry: Entry, reply: Reply) -> None:
    entry.fact(finish=reply.finish, served_by=reply.model, tier=reply.tier)
    entry.fact(first_token=reply.first_token and span(reply.first_token))
    used(entry, reply.usage)
    entry.fact(request=reply.request_id)
    sent(entry, reply.sent)
    for block in reply.blocks:
        said(entry, block, "said" if isinstance(block, Text) else "the model")
    entry.text(details=reply.details)


def used(entry: Entry, usage: Usage | None) -> None:
    """What the provider counted, by bucket."""
    if usage is None:
        return
    buckets: Mapping[str, int] = {
        "in": usage.input_uncached,
        "from cache": usage.cache_read,
        "to cache": usage.cache_write_short + usage.cache_write_long,
        "out": usage.output_visible,
        "reasoning": usage.output_reasoning,
    }
    entry.fact(tokens=", ".join(f"{n:,} {name}" for name, n in buckets.items() if n))


def sent(entry: Entry, what: Sent) -> None:
    """What is worth knowing of what was sent."""
    entry.fact(
        prefix=what.prefix,
        not_cached_from=what.changed,
        repaired="; ".join(what.repairs),
    )


def cut(entries: Sequence[Entry], time: float) -> None:
    """Nobody waits any more for these calls: what came of them is not known."""
    for entry in entries:
        entry.end, entry.state, entry.failed = time, "in doubt: no outcome is known", True
