"""Code of the user's: the loop and the task that a command needs, from a file or a module."""

import copy
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import evolve, frozen

from loopwright.cli.options import FILE, logged
from loopwright.cli.out import Refused, clean

if TYPE_CHECKING:
    from loopwright.api import Loop
    from loopwright.log.store import Log
    from loopwright.task import Task

app_option = click.option(
    "--app",
    "app",
    type=FILE,
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


def loaded(spec: str, *, calling: bool = True) -> App:
    """The loop and the task that `spec` names; keys are needed only for `calling` models."""
    from loopwright import apps
    from loopwright.api import Loop
    from loopwright.errors import BadInput
    from loopwright.task import Task

    try:
        where, loop, name = apps.parsed(spec)
        with nullcontext() if calling else apps.keys_made_up():
            module = apps.module(where, Path())
            task = apps.held(module, name, Task) if hasattr(module, name) else None
            return App(where, apps.held(module, loop, Loop), task, name)
    except BadInput as error:
        raise _bad(f"--app: {error}") from None
    except (Exception, SystemExit) as error:
        click.echo(clean("".join(traceback.format_exception(error))), err=True)
        raise _bad(f"{spec} cannot be loaded: {type(error).__name__}: {error}") from None


def _bad(text: str) -> Refused:
    return Refused(text)
