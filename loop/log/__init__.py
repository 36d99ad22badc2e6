"""The log: every run, step, decision and cost in one SQLite file."""

from loopwright.log.store import Log, Recorded

__all__ = ["Log", "Recorded"]
