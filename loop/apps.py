"""Apps: the loop and the task of a user, named by where they stand in their code."""

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from loopwright.api import Loop
from loopwright.errors import BadInput
from loopwright.task import Task

Held = TypeVar("Held")

_SPEC = re.compile(r"(?P<where>.+?)(?::(?P<loop>[^\W\d]\w*))?(?::(?P<task>[^\W\d]\w*))?")

STAND_INS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")
"""Keys without which a loop of theirs cannot even be made; here no model is ever asked."""


def app(spec: str, beside: str = "") -> tuple[Loop, Task]:
    """The loop and the task that ``FILE_OR_MODULE[:LOOP[:TASK]]`` names, in order to replay runs.

    Each may be the thing itself, or a function without parameters that makes one. A file is looked
    for in the working folder, and then beside the file `beside`. Keys of providers that are not set
    are made up meanwhile. Raises `BadInput` for what is not there.
    """
    where, loop, task = parsed(spec)
    with keys_made_up():
        there = module(where, Path(beside).parent)
        return held(there, loop, Loop), held(there, task, Task)


def parsed(spec: str) -> tuple[str, str, str]:
    """File or module, and the names of loop and task, of ``FILE_OR_MODULE[:LOOP[:TASK]]``."""
    found = _SPEC.fullmatch(spec)
    if not found:
        raise BadInput(f"app={spec!r}: say FILE_OR_MODULE[:LOOP[:TASK]]")
    return found["where"], found["loop"] or "loop", found["task"] or "task"


def held(there: ModuleType, name: str, kind: type[Held]) -> Held:
    """What the module has of this name, or a function of this name makes. Raises `BadInput`."""
    found: Any = getattr(there, name, None)
    made: Any = found() if callable(found) and not isinstance(found, kind) else found
    if isinstance(made, kind):
        return made
    where, wanted = there.__name__, kind.__name__
    missing = f"{where} has no {name!r}"
    wrong = f"{where}:{name} is a {type(made).__name__}, and no {wanted}"
    said = wrong if hasattr(there, name) else missing
    raise BadInput(f"{said}: name the {wanted} in FILE_OR_MODULE:LOOP:TASK")


def module(where: str, beside: Path) -> ModuleType:
    """The module of a file, or of a name; what it imports itself is looked for beside it first.

    Raises `BadInput` if it is not there, and whatever it raises itself.
    """
    if not where.endswith(".py"):
        with _importing(Path.cwd()):
            return _imported(where)
    path = next((p for p in (Path(where), beside / where) if p.exists()), None)
    if path is None:
        raise BadInput(f"there is no file {where}, neither in {Path.cwd()} nor in {beside}")
    return _loaded(path.resolve())


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise BadInput(f"there is no module {name!r}; a file is named by its .py") from None
        raise


def _loaded(path: Path) -> ModuleType:
    there = sys.modules.get(path.stem)
    if there is not None and getattr(there, "__file__", None) == str(path):
        return there
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # types are looked up there by the name of their module
    with _importing(path.parent):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _importing(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def keys_made_up() -> Iterator[None]:
    """While it is open, keys of providers that are not set are made up: nobody may be called."""
    made_up = [name for name in STAND_INS if not os.environ.get(name)]
    os.environ.update(dict.fromkeys(made_up, "not-a-key"))
    try:
        yield
    finally:
        for name in made_up:
            os.environ.pop(name, None)
