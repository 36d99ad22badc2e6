"""Three generations of agents, killed in the youngest with a real ``kill -9``, and resumed."""

import signal
from collections import Counter
from pathlib import Path

import pytest
from families import generations
from killed import Outside
from processes import forked

from loopwright import Log, Outcome
from loopwright.calls import Reply
from loopwright.events import Intended, Returned

LAST = 10
"""Events of the uninterrupted grandchild; a test of its own holds the number."""


def check(folder: Path, spare: int) -> None:
    """The grandchild went on, and nobody else did anything twice; `spare` calls were lost."""
    log = Log(folder / "runs.db")
    old, middle, young = (log.run(each) for each in log.ids())
    assert (middle.parent, young.parent) == (old.run_id, middle.run_id)
    assert {run.outcome for run in (old, middle, young)} == {Outcome.accepted}
    assert old.output_data == "grandmother is done."
    done = Counter(line.split()[0] for line in Outside(folder).noted())
    assert (done["grandmother"], done["mother"]) == (2, 2)
    assert done["child"] + done["book"] <= 3 + spare
    assert len({line for line in Outside(folder).noted() if line.startswith("book")}) == 1
    for run, upper in ((young, 5), (middle, 10), (old, 20)):
        assert run.spent.at_most <= upper * 10**9
        made = [e.call.id for e in run.events if isinstance(e, Intended)]
        assert len(made) - len(set(made)) <= 1
    log.close()


def test_uninterrupted(tmp_path: Path) -> None:
    assert forked(generations, tmp_path) == 0
    check(tmp_path, 0)
    log = Log(tmp_path / "runs.db")
    assert [log.run(each).seq for each in log.ids()] == [LAST] * 3
    returned = [e for each in log.ids() for e in log.run(each).events if isinstance(e, Returned)]
    asked = sum(e.cost.high for e in returned if isinstance(e.result, Reply))
    assert log.run(log.ids()[0]).spent.at_most == asked
    log.close()


@pytest.mark.parametrize("event", range(1, LAST + 1))
def test_killed_after_each_event_of_the_grandchild(tmp_path: Path, event: int) -> None:
    assert forked(generations, tmp_path, event) == -signal.SIGKILL
    assert forked(generations, tmp_path) == 0
    check(tmp_path, 0)


@pytest.mark.parametrize(("where", "spare"), [("before book", 0), ("after book", 1)])
def test_killed_in_a_tool_of_the_grandchild(tmp_path: Path, where: str, spare: int) -> None:
    assert forked(generations, tmp_path, 0, where) == -signal.SIGKILL
    assert forked(generations, tmp_path) == 0
    check(tmp_path, spare)
