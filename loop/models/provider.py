"""What stands behind the port: a `Provider` answers requests."""

from typing import Protocol

from loopwright.calls import Failure, Reply, Request


class Provider(Protocol):
    """Somebody who answers requests: one adapter a wire protocol.

    `name` is what stands before the colon in ``"provider:model"``.
    """

    @property
    def name(self) -> str: ...

    async def reply(self, request: Request) -> Reply | Failure:
        """Answer `request`. What goes wrong on the way is a `Failure`, never an exception."""
        ...
