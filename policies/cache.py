"""`CacheReplies`: the reply to a request that was made before, without asking the model again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from loopwright.calls import Call, Cost, ModelCall, Reply, ToolCall, Usage
from loopwright.codec import encode, plain, revive
from loopwright.errors import BadInput
from loopwright.events import Event, Returned
from loopwright.log.kept import Kept
from loopwright.policies.given import at_least
from loopwright.port import Port, Through, request
from loopwright.run import Run

if TYPE_CHECKING:
    from loopwright.log.store import Log


@frozen
class CacheReplies:
    """Gives the reply of an earlier call to the same request, of any run of the log.

    The same is what sends exactly the same: model, conversation, system text, tools, form of the
    output, options and token limit. A reply is kept for `seconds`, in a table of the log, without
    secrets. It costs nothing and says so: its usage is empty, what it first used stands under
    ``usage.raw["cached"]``, and its cost has the table ``"cached"``.

    Kept are only whole replies in words: no failure, no refusal, nothing cut, and no tool call,
    unless `tools` says so, since a tool may have given something else since. Samples that a judge
    takes of the same question are kept apart. Before the call it is reserved in full, since nobody
    knows yet that it is cached; and a cached reply is not streamed.

    `seconds` has no default: how long an answer stays true depends on what was asked. Raises
    `BadInput` for a lifetime of less than a second, and where a loop has no log.

    >>> from tempfile import TemporaryDirectory
    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> model = Scripted(["Hello."])
    >>> with TemporaryDirectory() as folder:
    ...     loop = Loop(model, log=f"{folder}/runs.db", ports=[CacheReplies(seconds=3600)])
    ...     print([loop.run_now(Task("Greet Ada.")).output for _ in range(3)], len(model.requests))
    ['Hello.', 'Hello.', 'Hello.'] 1
    """

    seconds: float = field(validator=at_least(1))
    tools: bool = False

    def port(self, inner: Port, log: Log | None) -> Port:
        """The port around `inner` that looks into the table of `log` first."""
        if log is None:
            raise BadInput("CacheReplies keeps replies in a log: give the loop one, with log=")
        return Cached(inner, log, self)


class Cached(Through):
    """A port that answers model calls with what the log has kept, where it can."""

    def __init__(self, inner: Port, log: Log, settings: CacheReplies) -> None:
        super().__init__(inner)
        self.kept = Kept(log)
        self.settings = settings

    async def perform(self, run: Run, call: Call) -> Event:
        if not isinstance(call, ModelCall):
            return await self.inner.perform(run, call)
        key = _key(run, call)
        found = self.kept.get(key, self.now())
        if found is not None:
            reply = _renewed(revive(Reply, found), call)
            return Returned(self.now(), call.id, reply, cost=Cost(table="cached"), cached=True)
        event = await self.inner.perform(run, call)
        if isinstance(event, Returned) and isinstance(event.result, Reply):
            self._keep(key, event.result)
        return event

    def _keep(self, key: str, reply: Reply) -> None:
        kept = reply.tool_calls if self.settings.tools else ()
        whole = reply.finish in ("stop", "tool_calls") and reply.tool_calls == kept
        if not whole or not (kept or reply.text.strip()):
            return
        now = self.now()
        self.kept.put(key, now + self.settings.seconds, reply, now)


def _key(run: Run, call: ModelCall) -> str:
    """The digest of all that is sent, and of which sample of the same it is."""
    asked = request(run, call, call.model, None)
    sent = evolve(asked, messages=tuple(asked.messages), timeout=0.0, prefix_key="")
    sample = "" if call.purpose == "answer" else call.id.rpartition("-")[2]
    return hashlib.sha256(f"{sample} {encode(sent)}".encode()).hexdigest()


def _renewed(reply: Reply, call: ModelCall) -> Reply:
    """The reply as that to `call`: at no cost, and its tool calls with ids of this run."""
    blocks = tuple(
        evolve(block, id=f"{call.id}-{i}") if isinstance(block, ToolCall) else block
        for i, block in enumerate(reply.blocks)
    )
    used = plain(reply.usage) if reply.usage else {}
    return evolve(reply, blocks=blocks, usage=Usage(raw={"cached": used}), first_token=None)
