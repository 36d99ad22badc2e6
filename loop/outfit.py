"""What a loop is made with besides its model and policies, checked when it is made."""

from collections.abc import Callable
from typing import Any, Protocol

from loopwright.calls import Delta
from loopwright.events import Event
from loopwright.given import function, listed
from loopwright.log.file import Durability
from loopwright.log.store import Log
from loopwright.models.provider import Provider
from loopwright.port import Port
from loopwright.run import Run

Watch = Callable[[Run, Event | Delta], object]


class Wrap(Protocol):
    """Something that wraps the port through which calls go, such as `CacheReplies`."""

    def port(self, inner: Port, log: Log | None) -> Port:
        """The port around `inner`; `log` is the loop's, if it has one."""
        ...


def named(providers: Any) -> dict[str, Provider]:
    """Provider objects by their names. Raises `BadInput`."""
    wrong = "is no provider: give an object, such as OpenAI(), with name and reply"
    return {one.name: one for one in listed("providers", providers, wrong, "name", "reply")}


def wraps(ports: Any) -> tuple[Wrap, ...]:
    """What wraps the port. Raises `BadInput`."""
    wrong = "wraps no port: give an object with port(inner, log), such as CacheReplies(seconds=60)"
    return listed("ports", ports, wrong, "port")


def kept(log: Any, durability: Durability) -> Log | None:
    """The log, opened if it is the path of one. Raises `BadInput`, and `LogError`."""
    return log if isinstance(log, Log | None) else Log(log, durability)


def watching(watch: Any) -> Watch | None:
    """Who is told of each event, if anybody is. Raises `BadInput`."""
    if not isinstance(watch, bool):
        given: Watch | None = function("watch", watch, "True, or a function of the run and event")
        return given
    from loopwright.show.cell import progress

    return progress() if watch else None
