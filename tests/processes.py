"""Processes of their own for tests: they can be killed, and know nothing of the tests.

They come from a fork server, which has loaded the library and nothing else: they share no memory
with the tests, with each other, or with the processes before them.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from killed import guarded

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["killed", "sagas", "pytest"])
"""pytest too, since each process loads what stands as the main module of its parent."""

sys.path.append(str(Path(__file__).parents[1]))
"""A process has the path of its parent, and pytest names the modules of tests from this folder."""

TAKEN = 7


def launched(work: Callable[..., object], *args: Any) -> BaseProcess:
    """A process that does this work."""
    # Python 3.11 does not pass the path of the tests on to the fork server.
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parent))
    process = PROCESSES.Process(target=guarded, args=(TAKEN, work, *args))
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    """The exit status of a process when it has ended, negative if it was killed."""
    process.join()
    return process.exitcode


def forked(work: Callable[..., object], *args: Any) -> int | None:
    """The exit status of a process that does this work."""
    return ended(launched(work, *args))
