"""`mcp_server`: the tools of an MCP server, as tools for a `Task`."""

import asyncio
import atexit
import logging
import math
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from attrs import evolve, field, frozen

from loopwright.calls import Effect, Failure, ToolSpec
from loopwright.errors import BadInput
from loopwright.port import LARGEST_ERROR
from loopwright.tools import mcp_told
from loopwright.tools.mcp_asked import Ask
from loopwright.tools.mcp_life import Address, Link
from loopwright.use import shortened

_LOG = logging.getLogger("loopwright")


@frozen
class Progress:
    """How far a call of `tool` is: `done` of `total`, if the server knows that, and its words."""

    tool: str
    done: float
    total: float | None = None
    message: str = ""


@frozen(eq=False)
class McpTool:
    """A tool of an MCP server; `mcp_server` makes them.

    `effect` is what the server's hints say if it is trusted, else ``"unsafe"``: a user who knows
    better says so with ``attrs.evolve(tool, effect="read")``. `timeout` is in seconds, `at_once` is
    how many calls may be under way at the same time, if not any number. `function` sends the
    arguments to the server, `validator` is what jsonschema checks them with.
    """

    spec: ToolSpec = field(repr=False)
    effect: Effect
    timeout: float
    labels: frozenset[str]
    function: Callable[[dict[str, Any]], Awaitable[str | Failure]] = field(repr=False)
    validator: Any = field(repr=False)
    asynchronous: bool = True
    at_once: int = 0

    @property
    def name(self) -> str:
        """The name that the model calls it by."""
        return self.spec.name

    def bind(self, arguments: Mapping[str, Any], key: str = "") -> tuple[tuple[Any, ...], Any]:
        """A copy of the arguments. Raises `Mismatch` with a line for everything that does not fit.

        `key` is not used: MCP has no idempotency keys.
        """
        return (mcp_told.checked(self.validator, arguments),), {}

    def render(self, value: str) -> str:
        """What the model is told: it is text already."""
        return value


class McpServer:
    """An MCP server, in use as long as its ``with`` block lasts; `mcp_server` makes it."""

    def __init__(
        self,
        at: Address,
        *,
        prefix: str,
        only: Sequence[str],
        trust: bool,
        timeout: float,
        progress: Callable[[Progress], object] | None,
    ) -> None:
        self._at = at
        self._prefix = prefix
        self._only = only
        self._trust = trust
        self._timeout = timeout
        self._progress = progress
        self._link: Link | None = None

    def __enter__(self) -> tuple[McpTool, ...]:
        if self._link:
            raise BadInput(f"the server {self._at.name} is in use: make a second one")
        self._link = Link(self._at)
        atexit.register(self._end)  # for a block that is never left
        try:
            tools = self._link.submit(self._link.tools()).result()
            return self._made(mcp_told.wanted(tools, self._only))
        except BaseException:
            self._end()
            raise

    def __exit__(self, *error: object) -> None:
        self._end()

    async def __aenter__(self) -> tuple[McpTool, ...]:
        entering = asyncio.ensure_future(asyncio.to_thread(self.__enter__))
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            if self._link:
                self._link.close()
            await asyncio.gather(entering, return_exceptions=True)
            self._end()
            raise

    async def __aexit__(self, *error: object) -> None:
        ending = asyncio.ensure_future(asyncio.to_thread(self._end))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await asyncio.wait([ending])
            raise

    def _end(self) -> None:
        atexit.unregister(self._end)
        link, self._link = self._link, None
        if link:
            link.close()
            link.join()

    def _made(self, tools: Mapping[str, Any]) -> tuple[McpTool, ...]:
        names = mcp_told.names(tools, self._prefix)
        return tuple(self._tool(names[name], tool) for name, tool in tools.items())

    def _tool(self, name: str, tool: Any) -> McpTool:
        print_ = mcp_told.fingerprint(tool)

        async def called(arguments: dict[str, Any]) -> str | Failure:
            return await self._call(tool.name, print_, arguments, name)

        return McpTool(
            mcp_told.spec(name, tool),
            mcp_told.effect(tool, self._trust),
            self._timeout,
            mcp_told.labels(tool, self._trust),
            called,
            mcp_told.validator(tool),
        )

    async def _call(
        self, theirs: str, print_: str, arguments: dict[str, Any], ours: str
    ) -> str | Failure:
        link, here = self._link, asyncio.get_running_loop()
        if link is None:
            return Failure(
                "tool_error", f"{self._at.name} is closed: call its tools inside the block"
            )

        def told(done: float, total: float | None, message: str | None) -> None:
            with suppress(RuntimeError):  # nobody waits for the call any more
                here.call_soon_threadsafe(self._tell, Progress(ours, done, total, message or ""))

        work = link.call(theirs, print_, arguments, told if self._progress else None)
        try:
            result = await asyncio.wrap_future(link.submit(work))
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            why = f"{self._at.name} was closed while {ours} was under way, outcome unknown"
            return Failure("connection", why)
        return _given(result)

    def _tell(self, progress: Progress) -> None:
        """Nothing that a listener does can hurt the run."""
        assert self._progress is not None
        try:
            self._progress(progress)
        except Exception:
            _LOG.warning("a listener raised at the progress of a tool", exc_info=True)


def _given(result: Any) -> str | Failure:
    """The text for the model, or why there is none, in as many words as an error may have."""
    if isinstance(result, Failure):
        return evolve(result, message=shortened(result.message, LARGEST_ERROR))
    text = mcp_told.text(result)
    return Failure("tool_error", shortened(text, LARGEST_ERROR)) if result.is_error else text


def mcp_server(
    server: Any,
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    headers: Mapping[str, str] | None = None,
    prefix: str = "",
    only: Sequence[str] = ("*",),
    trust: bool = False,
    timeout: float = 60.0,
    starting: float = 30.0,
    progress: Callable[[Progress], object] | None = None,
    ask: Ask | None = None,
) -> McpServer:
    """The tools of an MCP server, for as long as a ``with`` or ``async with`` block lasts.

    `server` is a command as a list, which is started in a process group of its own and ended with
    the block; or the URL of a server over HTTP; or a server or transport of the SDK, in this
    process. A command inherits no environment but PATH, HOME and the like: `env` is added to that;
    `cwd` is where it starts. `headers` are sent with each request over HTTP.

    `prefix` stands before each tool's name, so that two servers can be used together; what no
    provider would take as a name is changed. `only` are patterns of the server's own names of the
    tools that are wanted.

    A tool is ``"unsafe"`` whatever the server says of it; with `trust`, its hints are believed:
    read-only is ``"read"``, idempotent is ``"idempotent"``. What a tool gives comes from outside in
    any case.

    `timeout` is in seconds for each call; then the server is told to stop, which it may or may not
    do. `starting` is in seconds for the server to start and to list its tools: npx may have to
    download it first. `progress` is called with each `Progress` that a server reports.

    `ask` answers what the server wants to know of a person while a call is under way, and the
    `timeout` goes on meanwhile; without it the server is told that nobody can be asked.

    In errors and questions a server goes by its prefix, or else by its command or host.

    A server that ends is started again by the next call, and a call that was under way is never
    made twice: its outcome is unknown, and it says so. A tool that the server changes or withdraws
    in the meantime cannot be called any more.

    Raises `BadInput` for arguments that cannot work, and on entering the block for a server that
    cannot be reached and for tools that cannot be used. Needs ``loopwright[mcp]``.

    >>> from mcp.server.mcpserver import MCPServer
    >>> server = MCPServer("shop")
    >>> @server.tool()
    ... def price(article: str) -> int:
    ...     return 5
    >>> from loopwright import Loop, Task
    >>> from loopwright.calls import ToolCall
    >>> from loopwright.models import Scripted
    >>> model = Scripted([ToolCall("1", "shop_price", {"article": "tea"}), "It is 5."])
    >>> with mcp_server(server, prefix="shop_") as tools:
    ...     Loop(model).run_now(Task("What is the price of tea?", tools=tools)).output
    'It is 5.'
    """
    _check(timeout=timeout, starting=starting)
    if not re.fullmatch(r"[a-zA-Z0-9_-]{0,32}", prefix):
        raise BadInput(f"prefix={prefix!r}: give at most 32 letters, digits, _ -")
    if isinstance(only, str):
        raise BadInput(f"only={only!r}: give a list of names, such as ['read_*']")
    if find_spec("mcp") is None:
        raise BadInput("MCP needs its SDK: pip install 'loopwright[mcp]'")
    name = prefix.strip("_-") or _name(server)
    at = _address(name, server, env, cwd, headers, ask, starting)
    return McpServer(
        at, prefix=prefix, only=tuple(only), trust=trust, timeout=float(timeout), progress=progress
    )


def _check(**seconds: Any) -> None:
    for name, value in seconds.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value <= 0:
            raise BadInput(f"{name}={value!r}: give a positive number of seconds")


def _name(server: Any) -> str:
    """What it is called in errors and questions: neither arguments nor a whole URL, which may hold
    secrets."""
    if isinstance(server, str):
        return urlsplit(server).hostname or "server"
    if isinstance(server, list | tuple):
        return os.path.basename(str(server[0])) if server else ""
    return str(getattr(server, "name", type(server).__name__))


def _address(
    name: str,
    server: Any,
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None,
    headers: Mapping[str, str] | None,
    ask: Ask | None,
    starting: float,
) -> Address:
    more: dict[str, Any] = {"env": dict(env or {}), "cwd": os.fspath(cwd) if cwd else None}
    more |= {"headers": dict(headers or {}), "ask": ask, "starting": float(starting)}
    if isinstance(server, str):
        if not server.startswith(("http://", "https://")):
            raise BadInput(f"{server!r} is no URL: give a command as a list, ['npx', '-y', ...]")
        return Address(name, url=server, **more)
    if isinstance(server, list | tuple):
        if not server or not all(isinstance(part, str) for part in server):
            raise BadInput(f"{server!r} is no command: give a list of texts, ['npx', '-y', ...]")
        return Address(name, command=tuple(server), **more)
    return Address(name, object=server, **more)
