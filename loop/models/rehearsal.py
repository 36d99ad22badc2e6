"""`Rehearsal`: a server on this machine that speaks the wires of Anthropic and OpenAI.

With it the real SDKs are exercised without a key, and without anything leaving the machine.
``python -m loopwright.models.rehearsal`` serves the demonstration of `promotion`.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from loopwright.models import faults
from loopwright.models.promotion import Promotion
from loopwright.models.seen import SeenRequest
from loopwright.models.stage import Stage
from loopwright.models.wire import CallTool, Say

if TYPE_CHECKING:
    from loopwright.models.anthropic import Anthropic
    from loopwright.models.openai import OpenAI

__all__ = ["CallTool", "Rehearsal", "Say", "SeenRequest", "faults"]

Step = str | Say | CallTool | Sequence[str | Say | CallTool] | faults.Fault
Script = Sequence[Step] | Callable[[SeenRequest], Step]

_KEY = "rehearsal"


class Rehearsal:
    """Plays `script` to whoever asks, over HTTP on 127.0.0.1, while it is open.

    `script` is a list of steps, played in order, or a function of the `SeenRequest`; without one
    it is the demonstration. A step is a text or `Say`, a `CallTool`, a list of these for one reply,
    or one of `faults`. `port` 0 takes a free one. `url` is where it listens, `requests` are the
    requests seen.

    >>> with Rehearsal(["Hello.", faults.overloaded()]) as rehearsal:
    ...     rehearsal.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(self, script: Script | None = None, port: int = 0) -> None:
        self.requests: list[SeenRequest] = []
        self._script: Any = Promotion() if script is None else script
        self._lock = Lock()
        self._stage = Stage(self._step, port)

    @property
    def url(self) -> str:
        """Where the server listens, without a path."""
        return f"http://127.0.0.1:{self._stage.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead the SDKs here."""
        return {
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": _KEY,
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": _KEY,
        }

    def anthropic(self, **client_options: Any) -> "Anthropic":
        """A provider that asks this server through Anthropic's SDK."""
        from loopwright.models.anthropic import Anthropic

        return Anthropic(**{"base_url": self.url, "api_key": _KEY, **client_options})

    def openai(self, **client_options: Any) -> "OpenAI":
        """A provider that asks this server through OpenAI's SDK."""
        from loopwright.models.openai import OpenAI

        return OpenAI(**{"base_url": f"{self.url}/v1", "api_key": _KEY, **client_options})

    def __enter__(self) -> Self:
        serve = self._stage.serve_forever
        self._thread = Thread(target=serve, args=(0.02,), daemon=True, name="rehearsal")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stage.stop()
        self._thread.join()

    def _step(self, request: SeenRequest) -> Any:
        with self._lock:
            self.requests.append(request)
            asked = len(self.requests)
            if callable(self._script):
                return self._script(request)
            if asked <= len(self._script):
                return self._script[asked - 1]
        said = f"the script has {len(self._script)} steps, this is request {asked}"
        return faults.bad_request(said)


def main() -> None:
    """Serve the demonstration until Ctrl-C, and say how to get there."""
    parser = argparse.ArgumentParser(prog="loopwright.models.rehearsal", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    port = parser.parse_args().port
    with suppress(KeyboardInterrupt), Rehearsal(port=port) as rehearsal:
        lines = rehearsal.environment
        for vendor in ("ANTHROPIC", "OPENAI"):
            pairs = [f"{name}={lines[name]}" for name in lines if name.startswith(vendor)]
            print("export", *pairs, flush=True)
        rehearsal._thread.join()


if __name__ == "__main__":
    main()
