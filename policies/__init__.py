"""Policies: who may object. Each is a small frozen object; pass a list of them to `Loop`."""

from loopwright.budget import Budget, unlimited
from loopwright.policies.approve import Approve
from loopwright.policies.ask_person import AskPerson
from loopwright.policies.breaker import Breaker
from loopwright.policies.cache import CacheReplies
from loopwright.policies.checks import Cites, Matches, MaxWords, NoPlaceholders
from loopwright.policies.compact import Compact
from loopwright.policies.deadline import Deadline
from loopwright.policies.degrade import Degrade
from loopwright.policies.escalate import Escalate
from loopwright.policies.fallback import Fallback
from loopwright.policies.judge import Judge
from loopwright.policies.no_progress import NoProgress
from loopwright.policies.pace import Pace
from loopwright.policies.permit import Permit
from loopwright.policies.redact import Redact
from loopwright.policies.retry import Retry
from loopwright.policies.route import Route
from loopwright.policies.timeout import Timeout
from loopwright.policies.vote import Agrees, Vote
from loopwright.policy import Policies, Policy

__all__ = [
    "Agrees",
    "Approve",
    "AskPerson",
    "Breaker",
    "Budget",
    "CacheReplies",
    "Cites",
    "Compact",
    "Deadline",
    "Degrade",
    "Escalate",
    "Fallback",
    "Judge",
    "Matches",
    "MaxWords",
    "NoPlaceholders",
    "NoProgress",
    "Pace",
    "Permit",
    "Policies",
    "Policy",
    "Redact",
    "Retry",
    "Route",
    "Timeout",
    "Vote",
    "unlimited",
]
