"""`shell` and `python`: commands and programs that a model may run. No sandbox."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence

from attrs import field, frozen

from loopwright.errors import BadInput
from loopwright.tools.process import GRACE, Finished, Limits, check, run
from loopwright.tools.tool import Tool, texts, tool

_LONGEST = 131_071
"""Bytes of a program or an argument: what Linux takes (MAX_ARG_STRLEN), but for the last NUL."""

DEFAULT = Limits()


def shell(
    commands: Sequence[str] = (),
    *,
    sh: bool = False,
    folder: str | os.PathLike[str] | None = None,
    variables: Mapping[str, str] | None = None,
    limits: Limits = DEFAULT,
    name: str = "shell",
) -> Tool:
    """A tool that runs one of `commands`, given as a list of arguments: no shell reads them.

    A command is the beginning of what may be run: ``"git status"`` allows that and its options,
    ``"pytest"`` any call of pytest. With ``sh=True`` the model gives a line for ``/bin/sh``
    instead, which may be anything. `folder` is where commands run, by default an empty one that is
    removed afterwards. They see no environment but PATH, a home of their own and `variables`.

    This is no sandbox: a command can read and write whatever this process can, and many programs
    (git, find, env, python) start any other. What holds are the `limits`: time, memory, output,
    processes, and no network unless it is allowed. Run it in a container if the model reads what
    strangers wrote. The effect class is ``"unsafe"``.

    Raises `BadInput` without commands, for a folder that is not there, and on systems that cannot
    hold a command to the limits.

    >>> import asyncio
    >>> echo = shell(["echo"], limits=Limits(network=True))
    >>> asyncio.run(echo(["echo", "$HOME", ";", "ls"])).stdout
    '$HOME ; ls\\n'
    """
    console = _Console(
        _folder(folder), texts("variables", variables), _checked(limits), _allowed(commands)
    )
    if bool(commands) == sh:
        raise BadInput("name the commands that may be run, or say sh=True to allow any line of sh")
    said = f" One of: {', '.join(commands)}." if commands else ""
    function = console.line if sh else console.command
    return _made(function, name, f"{_first_line(function)}{said}", limits)


def python(
    *,
    folder: str | os.PathLike[str] | None = None,
    variables: Mapping[str, str] | None = None,
    limits: Limits = DEFAULT,
    name: str = "python",
) -> Tool:
    """A tool that runs a Python program in a process of its own, isolated from this one's modules.

    It is the interpreter that runs this, with the packages that are installed for it. What is said
    of `shell` holds here, too: limits, but no sandbox.

    >>> import asyncio
    >>> asyncio.run(python(limits=Limits(network=True))("print(6 * 7)")).stdout
    '42\\n'
    """
    console = _Console(_folder(folder), texts("variables", variables), _checked(limits))
    return _made(console.program, name, _first_line(console.program), limits)


@frozen
class _Console:
    """Where commands run, and which; each method is a tool."""

    folder: str | None
    variables: Mapping[str, str] = field(repr=False)  # may hold secrets
    limits: Limits
    allowed: tuple[tuple[str, ...], ...] = ()

    async def command(self, argv: list[str]) -> Finished:
        """Run a command, without a shell.

        Args:
            argv: the program and its arguments, each an item of its own
        """
        if not any(tuple(argv[: len(start)]) == start for start in self.allowed):
            said = ", ".join(map(shlex.join, self.allowed))
            wanted = shlex.join(argv)[:200] or "no command"
            raise PermissionError(f"{wanted} is not allowed; allowed are: {said}")
        return await self._run(argv)

    async def line(self, line: str) -> Finished:
        """Run a line of POSIX sh.

        Args:
            line: what sh reads
        """
        return await self._run(["/bin/sh", "-c", line])

    async def program(self, code: str) -> Finished:
        """Run a Python program; print what you want to know.

        Args:
            code: the whole program
        """
        return await self._run([sys.executable, "-I", "-c", code])

    async def _run(self, argv: Sequence[str]) -> Finished:
        if any("\0" in part or len(part.encode(errors="replace")) > _LONGEST for part in argv):
            raise ValueError(f"an argument has no NUL and at most {_LONGEST} bytes")
        return await run(argv, self.limits, self.folder, self.variables)


def _made(function: Callable[..., object], name: str, description: str, limits: Limits) -> Tool:
    """The supervisor's own limit comes first, so that the model reads what was printed till then.

    What a command prints may come from anybody, and it can read whatever this process can.
    """
    return tool(
        function,
        name=name,
        description=description,
        timeout=limits.seconds + 3 * GRACE,
        labels=("private", "outside", "sends") if limits.network else ("private", "outside"),
    )


def _first_line(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").partition("\n")[0]


def _checked(limits: Limits) -> Limits:
    if not isinstance(limits, Limits):
        raise BadInput(f"limits={limits!r}: give Limits(seconds=10), for example")
    check(limits)
    return limits


def _folder(folder: str | os.PathLike[str] | None) -> str | None:
    if folder is None:
        return None
    if not os.path.isdir(folder):
        raise BadInput(f"folder={os.fspath(folder)!r} is no folder")
    return os.path.realpath(folder)


def _allowed(commands: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    if isinstance(commands, str) or not all(isinstance(one, str) for one in commands):
        raise BadInput(f"commands={commands!r}: give a list of texts, such as ['git status']")
    try:
        split = tuple(tuple(shlex.split(command)) for command in commands)
    except ValueError as error:
        raise BadInput(f"commands={commands!r}: {error}; close every quote") from None
    if not all(split):
        raise BadInput("a command is empty")
    return split
