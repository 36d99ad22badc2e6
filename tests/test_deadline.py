"""Deadlines: what is awaited ends in time, and nothing rings that was put off."""

import asyncio

import pytest

from loopwright import deadline
from loopwright.deadline import Alarm, within


class _Told(Alarm):
    def __init__(self, rung: list[str], word: str) -> None:
        self.rung, self.word = rung, word
        self.set(asyncio.get_running_loop(), 0.01)

    def ring(self) -> None:
        self.rung.append(self.word)


async def _waits(seconds: float, work: float) -> str:
    try:
        with within(seconds):
            await asyncio.sleep(work)
    except TimeoutError:
        return "late"
    return "in time"


@pytest.mark.parametrize("soon", [0.0, 10.0])
def test_a_deadline_holds_alone_and_on_a_shelf(
    soon: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "SOON", soon)

    async def several() -> list[str]:
        return await asyncio.gather(_waits(0.05, 60), _waits(60, 0.01), _waits(0.05, 60))

    assert asyncio.run(several()) == ["late", "in time", "late"]


def test_a_cancellation_from_outside_stays_one() -> None:
    async def cancelled() -> bool:
        waiting = asyncio.ensure_future(_waits(60, 60))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        return waiting.cancelled()

    assert asyncio.run(cancelled())


def test_of_two_deadlines_the_one_that_is_over_speaks() -> None:
    async def nested() -> str:
        try:
            with within(0.01):
                return await _waits(60, 60)
        except TimeoutError:
            return "the outer"

    assert asyncio.run(nested()) == "the outer"


@pytest.mark.parametrize("soon", [0.0, 10.0])
def test_what_was_put_off_does_not_ring(soon: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "SOON", soon)
    rung: list[str] = []

    async def set_and_off() -> None:
        _Told(rung, "kept")
        _Told(rung, "off").off()
        await asyncio.sleep(1.1)

    asyncio.run(set_and_off())
    assert rung == ["kept"]


def test_many_later_deadlines_are_one_timer() -> None:
    """The heap of an event loop would else hold a cancelled timer for each call of ten minutes."""

    async def timers() -> int:
        for _ in range(1000):
            with within(600):
                await asyncio.sleep(0)
        return len(asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]

    assert asyncio.run(timers()) < 10


def test_event_loops_after_each_other_have_their_own() -> None:
    assert [asyncio.run(_waits(60, 0)) for _ in range(3)] == ["in time"] * 3
