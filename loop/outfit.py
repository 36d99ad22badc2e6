"""What a loop is made with besides its model and policies, checked when it is made."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from loopwright.calls import Delta
from loopwright.errors import BadInput
from loopwright.events import Event
from loopwright.given import asynchronous, function, listed
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


def asked(model: Any, providers: Any) -> tuple[str, dict[str, Provider]]:
    """The model by its name, and the provider objects by theirs. Raises `BadInput`."""
    wrong = "is no provider: give an object, such as OpenAI(), with name and reply"
    given: tuple[Provider, ...] = listed("providers", providers, wrong, "name", "reply")
    if isinstance(model, str):
        return model, _named(given)
    if isinstance(model, type) or not hasattr(model, "reply") or not hasattr(model, "name"):
        raise BadInput(
            f"{model!r} is no model: say 'provider:model', or give a provider, with name and reply"
        )
    return f"{model.name}:{model.name}", _named((*given, model))


def _named(providers: Iterable[Provider]) -> dict[str, Provider]:
    found: dict[str, Provider] = {}
    for one in providers:
        if found.setdefault(one.name, one) is not one:
            said = "give one of them another name, or leave it out"
            raise BadInput(f"two providers are called {one.name!r}: {said}")
    return found


def wraps(ports: Any) -> tuple[Wrap, ...]:
    """What wraps the port. Raises `BadInput`."""
    wrong = "wraps no port: give an object with port(inner, log), such as CacheReplies(seconds=60)"
    return listed("ports", ports, wrong, "port")


def wrapped(port: Port, wraps: Iterable[Wrap], log: Log | None) -> Port:
    """The port with what wraps it, the first innermost. Raises `BadInput`."""
    for wrap in wraps:
        outer: Any = wrap.port(port, log)
        if not isinstance(outer, Port):
            raise BadInput(f"{wrap!r:.80} gave {outer!r:.80}: {_GIVES}")
        port = outer
    return port


_GIVES = "port(inner, log) gives the port around inner"


def kept(log: Any, durability: Durability) -> Log | None:
    """The log, opened if it is the path of one. Raises `BadInput`, and `LogError`."""
    return log if isinstance(log, Log | None) else Log(log, durability)


def watching(watch: Any) -> Watch | None:
    """Who is told of each event, if anybody is. Raises `BadInput`."""
    if not isinstance(watch, bool):
        wanted = "True, or a function of the run and event"
        given: Watch | None = function("watch", watch, wanted)
        if asynchronous(given):
            raise BadInput(f"watch={given!r:.80} is async: give {wanted}")
        return given
    from loopwright.show.cell import progress

    return progress() if watch else None
