"""Diff: where two runs first differ, and what followed there."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from attrs import evolve, frozen

from loopwright.codec import canonical, plain
from loopwright.events import Resumed, Setting, Started
from loopwright.facts import Fact, facts, told
from loopwright.run import Run
from loopwright.show.lines import Line, lines
from loopwright.show.text import short, visible

NOTHING = "nothing more"
"""What a run did where only the other one did something."""

SHOWN = 160
"""Characters of each side: two lines of a terminal."""

HELD = ("title", "prompt", "system", "inputs", "max_tokens", "options")
SET = ("model", "output", "checks", "tools", "limits", "policies", "ceilings")
"""What a run is carried out with: fields of `Run`, and fields of its `Setting`."""


@frozen
class Difference:
    """The first difference between the runs `a` and `b`; it is false if there is none.

    `step` is the first step in which something else happened, `what` says in words what, and
    `followed` holds the lines of both runs from there on, in pairs. Before that `what` names all
    that the runs were carried out with differently: prompt, model, policies, limits and so on.
    Where only that differs, `step` is 0 and nothing followed; where nothing does, it is `None`.
    """

    a: Run
    b: Run
    step: int | None = None
    what: str = ""
    followed: tuple[tuple[Line | None, Line | None], ...] = ()

    def __bool__(self) -> bool:
        return self.step is not None

    def __str__(self) -> str:
        """For a terminal: whatever a model said steers nothing there."""
        if not self:
            return "There is no difference."
        said = f"a: run {self.a.run_id}\nb: run {self.b.run_id}\n\n{self.what}"
        rows = [row for pair in self.followed for row in _rows(*pair)]
        more = ["", "What followed:", *rows] if rows else []
        return "\n".join((*map(visible, said.split("\n")), *more))

    def _repr_html_(self) -> str:
        from loopwright.show.notebook import compared

        difference: Any = self
        return compared(difference)

    def _repr_markdown_(self) -> str:
        from loopwright.show.notebook import compared_markdown

        difference: Any = self
        return compared_markdown(difference)


def diff(a: Run, b: Run) -> Difference:
    """The first difference between two runs: in settings, prompt, calls, answers, decisions, end.

    Ids, times, costs and reasons in words do not count by themselves, nor does an interruption; of
    calls made together the order in which they came back does not.

    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> task, one, other = Task("Greet Ada."), Scripted(["Hello."]), Scripted(["Hi."])
    >>> a, b = Loop(one).run_now(task), Loop(other).run_now(task)
    >>> bool(diff(a, a)), diff(a, b).step
    (False, 1)
    >>> print(diff(a, b).what)
    step 1, what came of scripted:scripted:
      a: Hello.
      b: Hi.
    """
    return compared(a, b, [*settings(a, b, HELD), *_set(a, b)])


def compared(a: Run, b: Run, held: Sequence[str]) -> Difference:
    """The difference, if `held` are the words for what the runs are carried out with."""
    for one, other in zip_longest(facts(a.events), facts(b.events)):
        if one != other:
            step = min(fact.step for fact in (one, other) if fact)
            what = "\n".join((*held, _parted(step, one, other)))
            return Difference(a, b, step, what, _followed(a, b, step))
    return Difference(a, b, 0, "\n".join(held)) if held else Difference(a, b)


# --------------------------------------------------------------------------------------- settings


def settings(a: Any, b: Any, names: Sequence[str]) -> Iterator[str]:
    """In words, which of the fields of these names differ, and how."""
    for name in names:
        one, other = plain(getattr(a, name)), plain(getattr(b, name))
        if one != other:
            yield _said(name, *_only(one, other))


def _set(a: Run, b: Run) -> Iterator[str]:
    return settings(_setting(a), _setting(b), SET)


def _setting(run: Run) -> Setting:
    """What the run was last carried on with; the model is the one that it began with."""
    carried = [e.setting for e in run.events if isinstance(e, Started | Resumed)]
    models = [e.setting.model for e in run.events if isinstance(e, Started)]
    return evolve(carried[-1], model=models[-1])


def _only(one: Any, other: Any) -> tuple[str, str]:
    """Of lists only what the other one has not."""
    if not isinstance(one, list):
        return told(one), told(other)
    sides = [list(map(canonical, side)) for side in (one, other)]
    left = [[told(x) for x in one if canonical(x) not in sides[1]]]
    left += [[told(x) for x in other if canonical(x) not in sides[0]]]
    if not any(left):
        return told(one), told(other)
    return ", ".join(left[0]) or "none of these", ", ".join(left[1]) or "none of these"


# ------------------------------------------------------------------------------------------ words


def _parted(step: int, one: Fact | None, other: Fact | None) -> str:
    if one and other and one.about == other.about:
        return _said(f"step {step}, {one.about}", *_words(one, other))
    sides = (f"{fact.about}: {fact.words}" if fact else NOTHING for fact in (one, other))
    return _said(f"step {step}, what happened", *sides)


def _words(one: Fact, other: Fact) -> tuple[str, str]:
    """In words; where these are the same, that part of what counts in which they differ."""
    if one.words != other.words:
        return one.words, other.words
    mine, theirs = _narrowed(one.counts, other.counts)
    return told(mine), told(theirs)


def _narrowed(one: Any, other: Any) -> tuple[Any, Any]:
    """Of two plain values only what differs, without the lists around it."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        parts = {name: _narrowed(one.get(name), other.get(name)) for name in names}
        return {k: x for k, (x, _) in parts.items()}, {k: y for k, (_, y) in parts.items()}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [_narrowed(x, y) for x, y in zip(one, other, strict=True) if x != y]
        return pairs[0] if len(pairs) == 1 else ([x for x, _ in pairs], [y for _, y in pairs])
    return one, other


def _said(what: str, one: str, other: str) -> str:
    one, other = _apart(one, other)
    return f"{short(what, SHOWN)}:\n  a: {one}\n  b: {other}"


def _apart(one: str, other: str) -> tuple[str, str]:
    """Both on one line each; long ones from shortly before the place where they part."""
    if one.split() == other.split():  # they differ in spaces and ends of lines alone
        one, other = json.dumps(one), json.dumps(other)
    else:
        one, other = (re.sub(r"\s+", " ", text) for text in (one, other))
    if max(len(one), len(other)) <= SHOWN:
        return one, other
    pairs = enumerate(zip(one, other, strict=False))
    same = next((i for i, (x, y) in pairs if x != y), min(len(one), len(other)))
    start = max(0, same - SHOWN // 4)
    head = "…" if start else ""
    return short(f"{head}{one[start:]}", SHOWN), short(f"{head}{other[start:]}", SHOWN)


def _followed(a: Run, b: Run, step: int) -> tuple[tuple[Line | None, Line | None], ...]:
    one, other = ([line for line in lines(run.events) if line.step >= step] for run in (a, b))
    return tuple(zip_longest(one, other))


def _rows(one: Line | None, other: Line | None) -> Iterator[str]:
    for side, line in (("a", one), ("b", other)):
        if line:
            came = " | ".join((*line.came, *line.said))
            yield f"  {side} {line.step:>3}  {visible(short(f'{line.what}: {came}', SHOWN))}"
