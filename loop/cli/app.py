"""Code of the user's: the loop and the task that a command needs, from a file or a module."""

import copy
import importlib
import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve, frozen

from loopwright.cli.options import logged
from loopwright.cli.out import Refused, clean

if TYPE_CHECKING:
    from loopwright.api import Loop
    from loopwright.log.store import Log
    from loopwright.task import Task

_SPEC = re.compile(r"(.+?)(?::([^\W\d]\w*))?(?::([^\W\d]\w*))?")

app_option = click.option(
    "--app",
    "app",
    metavar="APP",
    envvar="LOOPWRIGHT_APP",
    show_envvar=True,
    required=True,
    help="Your code: FILE_OR_MODULE[:LOOP[:TASK]]; the names are loop and task by default.",
)


@frozen
class App:
    """What was named: the loop, and the task if there is one of that name."""

    spec: str
    loop: "Loop"
    named: "Task | None"
    name: str

    @property
    def task(self) -> "Task":
        """The task; without one the command ends."""
        if self.named is None:
            raise _bad(f"{self.spec} has no {self.name!r}: name the Task, as FILE:loop:my_task")
        return self.named

    @property
    def log(self) -> "Log":
        """The log of the loop; without one the command ends."""
        if self.loop.log is None:
            raise _bad(f"the loop in {self.spec} keeps no log")
        return self.loop.log

    def on(self, path: str | None) -> "App":
        """The same on the log at `path`; without one on the loop's own, or on that of this folder.

        A log has to be there: these commands go on with what others have begun.
        """
        if path is None and self.loop.log is not None:
            return self
        moved = copy.copy(self.loop)
        moved.log = logged(path)
        return evolve(self, loop=moved)


def loaded(spec: str) -> App:
    """The loop and the task that `spec` names."""
    from loopwright.api import Loop
    from loopwright.task import Task

    found = _SPEC.fullmatch(spec)
    if not found:
        raise _bad(f"--app {spec!r}: say FILE_OR_MODULE[:LOOP[:TASK]]")
    where, loop, task = found[1], found[2] or "loop", found[3] or "task"
    module = _module(where)
    mine = _held(module, where, loop, Loop)
    if mine is None:
        raise _bad(f"{where} has no {loop!r}: name the Loop, as FILE:my_loop")
    return App(where, mine, _held(module, where, task, Task), task)


def _held(module: ModuleType, where: str, name: str, kind: type[Any]) -> Any:
    """What the module has of this name, or what a function of this name makes; else `None`."""
    held = getattr(module, name, None)
    if callable(held) and not isinstance(held, kind):
        held = held()
    if held is not None and not isinstance(held, kind):
        raise _bad(f"{where}:{name} is a {type(held).__name__}, and no {kind.__name__}")
    return held


def _module(where: str) -> ModuleType:
    """Import what the user names; what it imports itself is looked for beside it first."""
    is_file = where.endswith(".py") or Path(where).is_file()
    if is_file and not Path(where).is_file():
        raise _bad(f"--app: there is no file {where}")
    folder = Path(where).parent if is_file else Path()
    sys.path.insert(0, str(folder.absolute()))
    try:
        return _of_file(Path(where)) if is_file else importlib.import_module(where)
    except (Exception, SystemExit) as error:
        click.echo(clean("".join(traceback.format_exception(error))), err=True)
        raise _bad(f"{where} cannot be loaded: {type(error).__name__}: {error}") from None


def _of_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise _bad(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where classes look for the module that they stand in
    spec.loader.exec_module(module)
    return module


def _bad(text: str) -> Refused:
    return Refused(text)
