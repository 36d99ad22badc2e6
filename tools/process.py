"""Commands as processes: held to limits, and ended on every way out."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

from attrs import asdict, frozen

from loopwright.errors import BadInput
from loopwright.tools.tool import at_least, positive

GRACE = 5.0
"""Seconds after its time in which the supervisor must have ended a command: it takes milliseconds,
unless the machine is overloaded."""

_SUPERVISOR = str(Path(__file__).with_name("supervisor.py").resolve())

_CHUNK = 65_536  # what a pipe of Linux holds


@frozen
class Limits:
    """What one command may use.

    `seconds` of time; `memory` (bytes of address space) and `file_size` (bytes) hold for each
    process, `processes` for all together, where the system counts them (Linux). Of what it prints,
    the first and last bytes are kept, `output` of stdout and as many of stderr. Without `network`
    the command has none, which takes Linux.

    The defaults let a test suite or a small computation through: a minute, a gigabyte (an
    interpreter with numpy reserves half), 64 processes, files of 100 MB, and twice the 50,000
    characters that a model is shown of any result. Raises `BadInput` for numbers that cannot work.

    >>> Limits(seconds=5).processes
    64
    """

    seconds: float = 60.0
    memory: int = 1_000_000_000
    output: int = 100_000
    processes: int = 64
    file_size: int = 100_000_000
    network: bool = False

    def __attrs_post_init__(self) -> None:
        positive("seconds", self.seconds)
        for name, least in (("memory", 1), ("output", 2), ("processes", 1), ("file_size", 0)):
            at_least(least, name, getattr(self, name))


@frozen
class Finished:
    """What came of a command: `why` says why it has no exit code of its own."""

    exit_code: int | None
    stdout: str
    stderr: str
    why: str = ""


def check(limits: Limits) -> None:
    """Raise `BadInput` where no command could be run under these limits."""
    if os.name != "posix":
        raise BadInput("commands are held to limits by means of POSIX, which is not here")
    if not limits.network and sys.platform != "linux":
        raise BadInput("the network of a command can be cut off on Linux only: say network=True")


async def run(
    argv: Sequence[str], limits: Limits, folder: str | None, variables: Mapping[str, str]
) -> Finished:
    """Run a command in `folder`, with no environment but the `variables` and a home of its own.

    The home is removed afterwards; without a folder the command runs there. However this ends, by
    a result, an error or a cancellation, the command and all that it has started end with it.
    """
    with TemporaryDirectory(prefix="loopwright-", ignore_cleanup_errors=True) as home:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": home,
            "TMPDIR": home,
            **variables,
        }
        return await _supervised(argv, limits, folder or home, environment)


async def _supervised(
    argv: Sequence[str], limits: Limits, folder: str, environment: Mapping[str, str]
) -> Finished:
    heard, report = os.pipe()
    try:
        process = _started(argv, limits, folder, environment, report)
    except BaseException:
        os.close(heard)
        raise
    finally:
        os.close(report)
    assert process.stdout is not None and process.stderr is not None  # noqa: PT018
    reading = asyncio.gather(
        _read(process.stdout, limits.output),
        _read(process.stderr, limits.output),
        _reported(open(heard, "rb", buffering=0)),  # noqa: SIM115
    )
    try:
        async with asyncio.timeout(limits.seconds + GRACE):
            stdout, stderr, known = await asyncio.shield(reading)
    except TimeoutError:
        return Finished(None, "", "", f"it did not end within {limits.seconds + GRACE:g} s")
    finally:
        await _ended(process, reading)
    why = known.get("why", "")
    return Finished(None if why else known.get("code"), stdout, stderr, why)


def _started(
    argv: Sequence[str], limits: Limits, folder: str, environment: Mapping[str, str], report: int
) -> "subprocess.Popen[bytes]":
    """The supervisor, with its order in a file without a name: for one argument it may be long."""
    with TemporaryFile() as order:
        said = {**asdict(limits), "argv": list(argv), "report": report}
        order.write(json.dumps(said).encode())
        order.seek(0)
        return subprocess.Popen(
            [sys.executable, "-I", "-S", _SUPERVISOR, str(order.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment,
            pass_fds=(report, order.fileno()),
            start_new_session=True,
        )


async def _ended(process: "subprocess.Popen[bytes]", reading: "asyncio.Future[Any]") -> None:
    """Close the lifeline; all pipes end once nobody is left who could write to them."""
    assert process.stdin is not None
    process.stdin.close()
    await asyncio.wait([reading], timeout=GRACE)
    process.kill()
    process.wait()
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading


async def _reported(pipe: IO[bytes]) -> dict[str, Any]:
    """What the supervisor says of the command; where the command has killed it, the group ends."""
    lines = (await _read(pipe, _CHUNK)).splitlines()
    known: dict[str, Any] = {}
    for line in reversed(lines):
        known |= _said(line)
    if "group" in known and not known.keys() & {"code", "why"}:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(known["group"], signal.SIGKILL)
    return {"why": "its supervisor was killed", **known} if "code" not in known else known


def _said(line: str) -> dict[str, Any]:
    """One report; nothing, where the command has found the pipe and written rubbish into it."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


async def _read(pipe: IO[bytes], most: int) -> str:
    """What comes through a pipe until it ends: of more than `most` bytes the beginning and end."""
    reader, loop = asyncio.StreamReader(), asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    head, tail, size = bytearray(), bytearray(), 0
    try:
        while chunk := await reader.read(_CHUNK):
            size += len(chunk)
            room = most // 2 - len(head)
            head += chunk[: max(room, 0)]
            tail += chunk[max(room, 0) :]
            del tail[: -(most // 2)]
    finally:
        transport.close()
    left_out = size - len(head) - len(tail)
    note = f"\n[… {left_out} of {size} bytes left out …]\n".encode() if left_out else b""
    return (head + note + tail).decode(errors="replace")
