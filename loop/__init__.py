"""loopwright: a loop with opinions, where the loop is one page and the opinions are objects.

`Task` says what is wanted and what counts as done, policies say what to do about it, `Loop` carries
it out, `Run` is what happened, and the log of it is a SQLite file.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loopwright.budget import Budget, unlimited
from loopwright.calls import Delta, Media, Options
from loopwright.errors import (
    BadInput,
    ExportFailed,
    LogError,
    LoopwrightError,
    Mismatch,
    RealCallForbidden,
    RunNotFound,
    RunTaken,
)
from loopwright.outcome import Outcome
from loopwright.policy import Policies, Policy
from loopwright.run import Attempt, Run
from loopwright.task import Task

if TYPE_CHECKING:
    from loopwright.api import Loop
    from loopwright.log.store import Log

__version__ = "0.1.0"

__all__ = [
    "Attempt",
    "BadInput",
    "Budget",
    "Delta",
    "ExportFailed",
    "Log",
    "LogError",
    "Loop",
    "LoopwrightError",
    "Media",
    "Mismatch",
    "Options",
    "Outcome",
    "Policies",
    "Policy",
    "RealCallForbidden",
    "Run",
    "RunNotFound",
    "RunTaken",
    "Task",
    "unlimited",
]


_HOMES = {"Loop": "api", "Log": "log.store"}
"""They load asyncio and SQLite, which a module of policies does not need."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'loopwright' has no attribute {name!r}")
    return getattr(import_module(f"loopwright.{_HOMES[name]}"), name)
