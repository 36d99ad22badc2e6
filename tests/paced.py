"""One of several processes that share a log: makes its runs, on a clock of its own, and ends."""

import subprocess
import sys
from pathlib import Path

from moments import Clock

from loopwright import Log, Loop, Run, Task
from loopwright.calls import Failure, Request
from loopwright.models import Scripted
from loopwright.models.scripted import Item
from loopwright.policies import Breaker, Pace, Policy

POLICIES: dict[str, Policy] = {
    "pace": Pace(requests=5),
    "breaker": Breaker(4, per="month"),
}
START = 1_750_000_000.0


def reply(request: Request) -> Item:
    """What the model says: of what is to be broken it fails."""
    if "broken" in request.messages[0].text:
        return Failure("server_error", "it is broken", None, True, 500)
    return "ok"


def main(path: str, policy: str, runs: int) -> None:
    """Make so many runs under this policy."""
    log = Log(path, "process")
    model = Scripted(reply)
    loop = Loop(model, policies=[POLICIES[policy]], log=log, ports=[Clock(START)])
    loop.map_now(Task("The {what}."), [{"what": what(policy)}] * runs, at_once=1)
    log.close()


def what(policy: str) -> str:
    """What a run under this policy is about."""
    return "broken thing" if policy == "breaker" else "thing"


def shared(path: Path, policy: str, runs: int) -> list[Run]:
    """What two processes at once have made under `policy`."""
    Log(path, "process").close()
    command = [sys.executable, __file__, str(path), policy, str(runs)]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    log = Log(path, "process")
    found = [log.run(run) for run in log.ids()]
    log.close()
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
