"""How a run ended, or why it waits."""

from enum import StrEnum


class Outcome(StrEnum):
    """How a run ended, or why it waits. Every ending has a name of its own."""

    accepted = "accepted"
    """The answer was accepted; `run.verified` says whether checks existed and all agreed."""
    rejected = "rejected"
    """The last answer had problems and no policy knew what to do; the best attempt is kept."""
    exhausted = "exhausted"
    """A limit was reached before the task was done."""
    stopped = "stopped"
    """A policy stopped the run."""
    failed = "failed"
    """A call failed for good, or a policy broke."""
    cancelled = "cancelled"
    """The run was interrupted from outside; it can be resumed."""
    waiting = "waiting"
    """A person has to answer a question; the run goes on when it is resumed after that."""
