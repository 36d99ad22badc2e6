"""The supervisor: starts one command, holds it to its limits, and leaves none of its children.

It is a process of its own (`python -I -S supervisor.py ORDER`), which needs the standard library
only. Its input is the lifeline: nothing is ever written there, and when it closes, because the
owner says so or was killed, the command ends with all that it has started.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

LOOK = 0.02
"""Seconds between two looks at how many processes there are: a fork bomb of a shell makes some
twenty in that time."""

CLEARING = 3.0
"""Seconds for ending processes that left their group while they make new ones."""

THREADS = 1_000
"""Tasks beyond the processes that a user may have: the kernel counts threads, and what the user
starts elsewhere meanwhile. The supervisor counts more closely; this holds between two looks."""

_PDEATHSIG, _SUBREAPER = 1, 36  # prctl(2)
_NEWUSER, _NEWNET = 0x1000_0000, 0x4000_0000  # unshare(2)
_LINUX = sys.platform == "linux"


def main() -> None:
    """Carry out the order that the open file with the number in the command line holds, as JSON."""
    with open(int(sys.argv[1])) as file:
        order = json.load(file)
    os.set_inheritable(order["report"], False)
    woken = _wakes()
    if _LINUX:
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    command = os.fork()
    if command == 0:
        _become(order)
    _report(order, {"group": command})
    said = _watched(command, order, woken)
    _clear(command)
    _report(order, said)


def _report(order: dict[str, Any], said: dict[str, Any]) -> None:
    os.write(order["report"], json.dumps(said).encode() + b"\n")


def _wakes() -> int:
    """A pipe that can be read as soon as a child ends."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    return woken


def _watched(command: int, order: dict[str, Any], woken: int) -> dict[str, Any]:
    """Wait until the command ends, or has to end: its exit code, or why it has none."""
    deadline = time.monotonic() + order["seconds"]
    while True:
        ready = select.select([0, woken], [], [], LOOK)[0]
        if 0 in ready:
            return {"why": "it was given up"}
        with suppress(BlockingIOError):
            os.read(woken, 4096)
        code = _reaped(command)
        if code is not None:
            return {"code": code}
        if time.monotonic() > deadline:
            return {"why": f"it was ended after {order['seconds']:g} s"}
        if len(descendants(os.getpid(), order["processes"])) > order["processes"]:
            return {"why": f"it was ended: it had more than {order['processes']} processes"}


def _reaped(command: int) -> int | None:
    """The exit code of the command, if it has ended; orphans are buried beside."""
    code = None
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == command:
                code = os.waitstatus_to_exitcode(found[1])
    return code


def descendants(process: int, most: int) -> list[int]:
    """The ids of all that `process` has started, and of all that these have; where /proc is.

    It stops once there are more than `most`: a fork bomb grows faster than it can be walked.
    """
    found: list[int] = []
    due = [process]
    while due and len(found) <= most:
        children = _children(due.pop())
        found += children
        due += children
    return found


def _children(process: int) -> list[int]:
    said = []
    with suppress(OSError):  # it has ended meanwhile
        for task in os.listdir(f"/proc/{process}/task"):
            said += Path(f"/proc/{process}/task/{task}/children").read_text().split()
    return list(map(int, said))


def _clear(command: int) -> None:
    """End the command's group, in one act that no fork escapes, and then whoever left the group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(command, signal.SIGKILL)
    deadline = time.monotonic() + CLEARING
    while (left := descendants(os.getpid(), THREADS)) and time.monotonic() < deadline:
        for process in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        _reaped(command)


# ------------------------------------------------------------------------------- in the child


def _become(order: dict[str, Any]) -> None:
    """Turn into the command; whatever goes wrong before it runs is reported."""
    try:
        os.setsid()
        if _LINUX:
            ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if not order["network"]:
            _cut_off()
        _limit(order)
        for name in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
            signal.signal(name, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(order["argv"][0], order["argv"])
    except BaseException as error:
        why = f"it could not be started: {getattr(error, 'strerror', None) or error}"
        _report(order, {"why": why})
    finally:
        os._exit(127)


def _cut_off() -> None:
    """A network of its own, which is empty; without privileges this takes a user namespace."""
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEWNET) == 0:
        return
    if libc.unshare(_NEWUSER | _NEWNET) != 0:
        raise OSError(
            ctypes.get_errno(),
            "the network cannot be cut off on this machine; only network=True is possible here",
        )
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _limit(order: dict[str, Any]) -> None:
    import resource  # where there is no POSIX, this module can still be imported

    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(order["seconds"]) + 1,
        resource.RLIMIT_AS: order["memory"],
        resource.RLIMIT_FSIZE: order["file_size"],
        resource.RLIMIT_NPROC: _tasks(os.getuid()) + order["processes"] + THREADS,
    }
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # macOS does not know all of them
            resource.setrlimit(kind, (most, most))


def _tasks(user: int) -> int:
    """How many threads and processes the user has now: the kernel's limit counts them all."""
    many = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry.stat().st_uid == user:
                many += len(os.listdir(entry / "task"))
    return many


if __name__ == "__main__":
    main()
