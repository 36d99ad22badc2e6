"""Policies: who may object. Each is a small frozen object; pass a list of them to `Loop`."""

from loopwright.budget import Budget, unlimited
from loopwright.policies.approve import Approve
from loopwright.policies.escalate import Escalate
from loopwright.policies.judge import Judge
from loopwright.policies.retry import Retry
from loopwright.policy import Policies, Policy

__all__ = ["Approve", "Budget", "Escalate", "Judge", "Policies", "Policy", "Retry", "unlimited"]
