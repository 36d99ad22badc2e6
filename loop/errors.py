"""The errors, all of them.

::

    LoopwrightError
    ├── BadInput            what you passed cannot work; says what to do (also a ValueError)
    ├── Mismatch            data does not fit its type; `problems` says where, line by line
    ├── RealCallForbidden   a model was about to be called while real calls are switched off
    ├── ExportFailed        an endpoint did not take what the log has to tell
    └── LogError            the log cannot be opened, read or written
        ├── RunNotFound     no run of that id stands in the log
        └── RunTaken        another process carries on this run

What goes wrong while a run is carried out is not an exception but a value: a `Failure`, a problem
or an `Outcome`, and it stands in the log.
"""

from collections.abc import Iterable


def in_words(error: BaseException) -> str:
    """What an error is and says, also of one that cannot say it.

    >>> in_words(KeyError("x")), in_words(ValueError())
    ("KeyError: 'x'", 'ValueError')
    """
    try:
        said = str(error)
    except Exception as broken:
        said = f"it cannot say what it is: its __str__ raised {type(broken).__name__}"
    return f"{type(error).__name__}: {said}".removesuffix(": ")


class LoopwrightError(Exception):
    """Whatever this library raises by itself."""


class BadInput(LoopwrightError, ValueError):
    """An argument, a type, a tool, a model name or a limit that cannot work."""


class Mismatch(LoopwrightError):
    """Data that does not fit its type: `problems` are lines that a model can act on, with paths.

    >>> Mismatch(["many.1.x: Field required"]).problems
    ('many.1.x: Field required',)
    """

    problems: tuple[str, ...]

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class RealCallForbidden(LoopwrightError):
    """A model was about to be called over the network while `forbid_real_calls()` holds."""


class ExportFailed(LoopwrightError):
    """An endpoint did not take the spans. What it took before is known, and is not sent again."""


class LogError(LoopwrightError):
    """The log cannot be opened, read or written."""


class RunNotFound(LogError):
    """No run of that id stands in the log."""


class RunTaken(LogError):
    """Another process has appended to this run: this one must not act any more."""
