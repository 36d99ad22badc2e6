"""The process-wide switch that forbids real calls: tests turn it off once, for all providers."""

from ipaddress import ip_address

from loopwright.errors import RealCallForbidden

_allowed = True


def forbid_real_calls() -> None:
    """From now on no provider sends anything to a host that is not this machine, or through one.

    A call that would is refused with `RealCallForbidden` before it is sent. Holds for the whole
    process, until `allow_real_calls()`. A test suite says it once, in its ``conftest.py``::

        from loopwright.models import forbid_real_calls

        forbid_real_calls()
    """
    global _allowed
    _allowed = False


def allow_real_calls() -> None:
    """Take `forbid_real_calls()` back."""
    global _allowed
    _allowed = True


def ensure_allowed(host: str) -> None:
    """Raise `RealCallForbidden` if real calls are forbidden and `host` is not this machine."""
    if not _allowed and not loopback(host):
        raise RealCallForbidden(
            f"a call to {host} was about to be made while real calls are forbidden: use "
            "Scripted or Rehearsal, or say loopwright.models.allow_real_calls()"
        )


def loopback(host: str) -> bool:
    """Whether `host` is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
