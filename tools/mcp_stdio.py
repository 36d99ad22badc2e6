"""An MCP server as a process: started, talked to over its pipes, and ended on every way out.

The SDK has such a transport too. This one bounds a message and what is kept of stderr, knows why
the process ended, and kills what the process started even if it ended by itself.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

LARGEST = 32 * 2**20
"""Bytes of one message: the largest image that providers take (20 MB) fits in as base64."""

LAST_WORDS = 2_000
"""Bytes that are kept of what the server says on stderr: enough for the end of a traceback."""

GRACE = 2.0
"""Seconds for the server to end after its input is closed, and again after SIGTERM: what the SDK
gives it (`PROCESS_TERMINATION_TIMEOUT`)."""

_LOOK = 0.01
"""Seconds between two looks at whether it has ended: `Process.wait` would wait for its pipes too,
which a child of the server may hold open."""


def too_large() -> str:
    """What is said of a server whose message is larger than `LARGEST`."""
    return f"it sent a message of more than {LARGEST // 2**20} MB"


class Child:
    """The process of a server."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.fault = ""
        self.silent = False
        self.stopped = False
        self._words = bytearray()

    @property
    def over(self) -> bool:
        """Whether nothing more can come of it."""
        return self.silent or self.process.returncode is not None

    @property
    def end(self) -> str:
        """Why it ended, unless we ended it."""
        code = self.process.returncode
        return self.fault or ("" if code is None or self.stopped else f"exit code {code}")

    @property
    def words(self) -> str:
        """The last that it said on stderr."""
        return self._words.decode(errors="replace").strip()

    def kill(self) -> None:
        """At once, with all that it started; from any thread."""
        _signal(self.process, "SIGKILL")

    async def listen(self) -> None:
        """Read what it says on stderr, however much that is, and keep the end of it."""
        assert self.process.stderr is not None
        while said := await self.process.stderr.read(65_536):
            self._words += said
            del self._words[:-LAST_WORDS]

    async def ended(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        for _ in range(int(seconds / _LOOK)):
            if self.process.returncode is not None:
                return True
            await asyncio.sleep(_LOOK)
        return False


@asynccontextmanager
async def started(
    command: Sequence[str], env: Mapping[str, str], cwd: str | None
) -> AsyncIterator[Child]:
    """The process of `command`, in a process group of its own that ends with the block.

    It inherits what the SDK holds to be safe (PATH, HOME and the like) and no keys; `env` is added.
    Raises `OSError` for a command that cannot be started.
    """
    from mcp.client.stdio import get_default_environment

    options: dict[str, Any] = {"cwd": cwd, "limit": LARGEST, "start_new_session": True}
    options["env"] = {**get_default_environment(), **env}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, **options
    )
    child = Child(process)
    listening = asyncio.ensure_future(child.listen())
    try:
        yield child
    finally:
        try:
            await _stopped(child)
        finally:
            _signal(process, "SIGKILL")
            listening.cancel()
            _close(process)


async def _stopped(child: Child) -> None:
    """In the order of the specification of MCP: its input is closed, then SIGTERM, then SIGKILL."""
    assert child.process.stdin is not None
    patience = 0.0 if child.fault else GRACE
    if child.silent:  # it is ending by itself, and its exit code is of interest
        await child.ended(patience)
    child.stopped = child.process.returncode is None
    child.process.stdin.close()
    if not await child.ended(patience):
        _signal(child.process, "SIGTERM")
        if not await child.ended(GRACE):
            _signal(child.process, "SIGKILL")
            await child.ended(GRACE)


def _signal(process: Process, name: str) -> None:
    """To the whole group, of which some may be left when the server itself has ended."""
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, getattr(signal, name))


def _close(process: Process) -> None:
    """What has left the group may hold the pipes open; nothing public closes our ends of them."""
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()


@asynccontextmanager
async def piped(child: Child) -> AsyncIterator[Any]:
    """The streams of messages that the SDK reads from and writes to."""
    from anyio import create_memory_object_stream, create_task_group
    from mcp.shared.message import SessionMessage

    incoming, read = create_memory_object_stream[SessionMessage | Exception](0)
    write, outgoing = create_memory_object_stream[SessionMessage](0)
    try:
        async with create_task_group() as group:
            group.start_soon(_read, child, incoming)
            group.start_soon(_write, child, outgoing)
            yield read, write
            group.cancel_scope.cancel()
    finally:
        for stream in (incoming, read, write, outgoing):
            stream.close()


async def _read(child: Child, incoming: Any) -> None:
    """Until the server closes its output; then the SDK knows that nothing more will come."""
    from anyio import BrokenResourceError, ClosedResourceError

    with incoming, suppress(BrokenResourceError, ClosedResourceError):
        while line := await _line(child):
            if message := _message(line):
                await incoming.send(message)
    child.silent = True


async def _line(child: Child) -> bytes:
    assert child.process.stdout is not None
    try:
        return await child.process.stdout.readline()
    except ValueError:  # of `StreamReader`, for what passes its limit
        child.fault = too_large()
        return b""


def _message(line: bytes) -> Any:
    """The message in a line; None for one that is none, as when a server prints to its output."""
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        return None


async def _write(child: Child, outgoing: Any) -> None:
    stdin = child.process.stdin
    assert stdin is not None
    with outgoing, suppress(OSError):  # a server that is gone is noticed by its output
        async for one in outgoing:
            text = one.message.model_dump_json(by_alias=True, exclude_unset=True)
            stdin.write(text.encode() + b"\n")
            await stdin.drain()
