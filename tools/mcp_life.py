"""A connection to an MCP server, and the thread in which connections live.

The SDK's scopes have to be left by the task that entered them, whatever becomes of the run that
calls a tool; and a script has no event loop between two `run_now`. So a server has a thread with an
event loop of its own, in which one task holds the connection from its beginning to its end.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from attrs import field, frozen

from loopwright.calls import Failure
from loopwright.errors import BadInput
from loopwright.tools.mcp_asked import Ask, answered
from loopwright.tools.mcp_stdio import LARGEST, Child, piped, started, too_large
from loopwright.tools.mcp_told import fingerprint, fit

PAGES = 100
"""Pages of a list of tools that are read: what the SDK reads at most (`_RELIST_PAGE_CAP`)."""

GRACE = 10.0
"""Seconds for a connection to end: a process has its own three times two, and HTTP says goodbye."""

_LONG = 1_000
"""Characters that are told of what was wrong with a result."""

_LOG = logging.getLogger("loopwright")

_Result = TypeVar("_Result")
Told = Callable[[float, "float | None", "str | None"], object]


@frozen
class Address:
    """Where a server is: a `command` to start, a `url`, or an `object` of the SDK."""

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    object: Any = None
    env: Mapping[str, str] = field(factory=dict, repr=False)
    cwd: str | None = None
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    ask: Ask | None = None
    starting: float = 30.0


@asynccontextmanager
async def _reached(at: Address) -> AsyncIterator[tuple[Any, Child | None]]:
    """What the SDK's client talks through, and the process if there is one."""
    if at.command:
        async with started(at.command, at.env, at.cwd) as child:
            yield piped(child), child
    elif at.url:
        from httpx2 import AsyncClient, Timeout
        from mcp.client.streamable_http import streamable_http_client

        times = Timeout(at.starting, read=None)  # a call has a timeout of its own
        options: dict[str, Any] = {"timeout": times, "event_hooks": {"response": [_capped]}}
        async with AsyncClient(headers=dict(at.headers), **options) as http:
            yield streamable_http_client(at.url, http_client=http), None
    else:
        yield at.object, None


async def _capped(response: Any) -> None:
    """Let the body be read up to `LARGEST` bytes, unpacked; of events the SDK bounds each one."""
    kind = response.headers.get("content-type", "").lower()
    if response.is_success and kind.startswith("text/event-stream"):
        return
    unpacked = response.aiter_bytes

    async def parts() -> AsyncIterator[bytes]:
        from httpx2 import StreamError

        size = 0
        async for part in unpacked():
            if (size := size + len(part)) > LARGEST:
                raise StreamError(too_large())  # which the SDK takes for a message that is none
            yield part

    response.aiter_bytes = parts


class Life:
    """One connection, from its beginning to its end."""

    def __init__(self, at: Address) -> None:
        self.at = at
        self.tools: dict[str, Any] = {}
        self.client: Any = None
        self.child: Child | None = None
        self.stale = False
        self.fault = ""
        self._begun = asyncio.Event()
        self._end = asyncio.Event()
        self._task = asyncio.ensure_future(self._lived())

    async def begun(self) -> None:
        """Wait until the tools are listed. Raises `BadInput` with the reason if that fails."""
        begun = asyncio.ensure_future(self._begun.wait())
        await asyncio.wait(
            [begun, self._task], timeout=self.at.starting, return_when=asyncio.FIRST_COMPLETED
        )
        begun.cancel()
        if not self._begun.is_set():
            late = not self._task.done()
            await self.ended()
            self.fault = f"no answer in {self.at.starting:g} s" if late else self.fault
            raise BadInput(f"the server {self.at.name} cannot be reached: {self.why()}")

    @property
    def over(self) -> bool:
        """Whether no call can be made any more."""
        gone = self.child is not None and self.child.over
        return gone or self._end.is_set() or self._task.done()

    def why(self) -> str:
        """Why it ended, as far as that is known."""
        end, words = (self.child.end, self.child.words) if self.child else ("", "")
        return "; ".join(filter(None, [end or self.fault, words and f"its last words: {words}"]))

    async def ended(self) -> None:
        """End it, and wait until it has ended."""
        self._end.set()
        if not self._begun.is_set():
            self._task.cancel()
        await asyncio.wait([self._task], timeout=GRACE)
        self._task.cancel()

    async def _lived(self) -> None:
        try:
            async with (
                _reached(self.at) as (transport, self.child),
                self._client(transport) as self.client,
            ):
                # The SDK's own check of results has no bounds: `called` does it with `fit`.
                self.client.session.validate_tool_result = _trusting
                await self.listed()
                listening = asyncio.ensure_future(self._listen())
                self._begun.set()
                await self._end.wait()
                listening.cancel()
                await asyncio.wait([listening])
        except Exception as error:
            self.fault = _innermost(error)

    def _client(self, transport: Any) -> Any:
        from mcp import Client
        from mcp_types import Implementation

        return Client(
            transport,
            client_info=Implementation(name="loopwright", version="0"),
            message_handler=self._heard,
            elicitation_callback=self._asked if self.at.ask else None,
            cache=None,
        )

    async def _heard(self, message: Any) -> None:
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            self.stale = True

    async def _listen(self) -> None:
        """A server of 2026 tells changes only to who asks for them; one that does not, has none."""
        from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
        from mcp.shared.exceptions import MCPError

        with suppress(ListenNotSupportedError, MCPError, SubscriptionLost):
            async with self.client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self.stale = True

    async def _asked(self, context: Any, params: Any) -> Any:
        assert self.at.ask is not None
        return await answered(self.at.ask, self.at.name, params)

    async def listed(self) -> None:
        """Read the list of tools, page by page."""
        self.stale, cursor = False, None
        tools: list[Any] = []
        for _ in range(PAGES):
            page = await self.client.list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        self.tools = {tool.name: tool for tool in tools}
        if len(self.tools) < len(tools):
            raise BadInput(f"the server {self.at.name} lists two tools under one name")

    async def called(
        self, name: str, print_: str, arguments: dict[str, Any], told: Told | None
    ) -> Any:
        """What the server gives, or the failure that it did not."""
        if self.stale:
            await self.listed()
        if name not in self.tools or fingerprint(self.tools[name]) != print_:
            gone = "changed" if name in self.tools else "withdrew"
            return Failure(
                "tool_error", f"{self.at.name} {gone} {name} since the task was made: do without it"
            )
        tool = self.tools[name]
        try:
            result = await self.client.call_tool(name, arguments, progress_callback=_async(told))
            fit(tool, result)
        except (RuntimeError, ValueError) as error:  # of the SDK too, for what is no result
            return Failure("tool_error", f"{name} gave what it should not: {error!s:.{_LONG}}")
        return result


async def _trusting(name: str, result: Any) -> None:
    """Takes the place of what checks a result."""


def _async(told: Told | None) -> Any:
    if told is None:
        return None

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told(done, total, message)

    return progress


def _innermost(error: BaseException) -> str:
    """The first error of a group: the SDK's task groups wrap them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, BadInput) else f"{type(error).__name__}: {error}"


class Link:
    """A server that is reached anew when its connection has ended."""

    def __init__(self, at: Address) -> None:
        self.at = at
        self._life: Life | None = None
        self._loop = asyncio.new_event_loop()
        self._work: set[Future[Any]] = set()
        self._stop = asyncio.Event()
        self._one = asyncio.Lock()
        self._thread = threading.Thread(
            target=self._worked, daemon=True, name=f"loopwright mcp {at.name}"
        )
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, _Result]) -> "Future[_Result]":
        """Do it in the thread; it is cancelled when the server is closed."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._work.add(future)
        future.add_done_callback(self._work.discard)
        return future

    def close(self) -> None:
        """End the connection and the thread. Does not wait: `join` does."""
        with suppress(RuntimeError):  # it is closed already
            self._loop.call_soon_threadsafe(self._stop.set)

    def join(self) -> None:
        """Wait for the end of the thread; if something holds it up, only the process is ended."""
        self._thread.join(2 * GRACE)  # what is late is cancelled after one, and takes its time too
        if self._thread.is_alive():
            _LOG.warning("the connection to %s does not end: it is left behind", self.at.name)
            if self._life and self._life.child:
                self._life.child.kill()

    def _worked(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._lasted())

    async def _lasted(self) -> None:
        await self._stop.wait()
        for future in list(self._work):  # a server here would go on with them
            future.cancel()
        if self._life:
            await self._life.ended()

    async def tools(self) -> dict[str, Any]:
        """The tools that the server lists, by its own names for them."""
        return (await self._alive()).tools

    async def _alive(self) -> Life:
        async with self._one:
            if self._life is None or self._life.over:
                if self._life:
                    await self._life.ended()
                self._life = Life(self.at)
            await self._life.begun()
            return self._life

    async def call(
        self, name: str, print_: str, arguments: dict[str, Any], told: Told | None
    ) -> Any:
        """What the server gives, or the failure that it did not.

        A call is never made twice: where the connection ended, the next call makes a new one.
        """
        from mcp.shared.exceptions import MCPError

        try:
            life = await self._alive()
        except BadInput as error:
            return Failure("connection", str(error))
        try:
            return await life.called(name, print_, arguments, told)
        except MCPError as error:
            if not _ended(error):
                return Failure("tool_error", str(error))
        except Exception as error:
            life.fault = life.fault or _innermost(error)
        await life.ended()
        why = f"the connection to {self.at.name} ended while {name} was under way"
        return Failure("connection", f"{why}, outcome unknown; {life.why()}".rstrip("; "))


def _ended(error: Any) -> bool:
    """Whether the connection is over. The code for that is also the first of those that servers
    may use as they like: only with the words of an SDK it says so."""
    from mcp_types import CONNECTION_CLOSED

    said = str(error)
    closed = error.code == CONNECTION_CLOSED and said.startswith(_CLOSED)
    return closed or said == "Session terminated"


_CLOSED = ("Connection closed", "SSE stream ", "Bad Request: ")
"""How an error begins that Python's SDK makes up when no answer will come, or that TypeScript's
gives over HTTP when it has forgotten the session."""
