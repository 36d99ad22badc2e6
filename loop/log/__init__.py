"""The log: every run, step, decision and cost in one SQLite file."""

from loopwright.log.recorded import Recorded
from loopwright.log.store import Log

__all__ = ["Log", "Recorded"]
