"""Attempts: the answers of a run, what was wrong with each, and what the next one changed."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal

from attrs import frozen

from loopwright.calls import Answer, ModelCall, Question, Reply
from loopwright.events import Event, Inspected, Intended, Problem, Returned
from loopwright.show.lines import Lines

MOST = 4_000
"""Pieces that are compared one by one: as many take a tenth of a second at worst. What has more is
compared line by line, or not at all."""

Change = Literal["same", "gone", "new"]


@frozen
class Tried:
    """One answer: in which step, by which model or person, and what the checks found wrong."""

    step: int
    by: str
    text: str
    problems: tuple[Problem, ...] = ()


def tried(events: Iterable[Event]) -> list[Tried]:
    """The answers of a run that were looked at, in order."""
    found: list[Tried] = []
    gathered, asked, text = Lines(), {}, ("", "")
    for event in events:
        gathered.add(event)
        match event:
            case Intended(call=ModelCall(purpose="answer") | Question(purpose="answer") as call):
                asked[call.id] = getattr(call, "model", "a person")
            case Returned(call=name, result=Reply() | Answer() as result) if name in asked:
                text = asked[name], result.text
            case Inspected(judging=()):
                found.append(Tried(gathered.line.step, *text, event.problems))
            case _:
                pass
    return found


def changes(old: str, new: str) -> list[tuple[Change, str]]:
    """What became of `old` in `new`, word by word, in pieces: the same, gone, or new.

    >>> changes("Rain in Rome.", "Rain in Oslo.")
    [('same', 'Rain in '), ('gone', 'Rome'), ('new', 'Oslo'), ('same', '.')]
    """
    for pieces in (_words, _lines):
        before, after = pieces(old), pieces(new)
        if max(len(before), len(after)) <= MOST:
            return list(_changes(before, after))
    return [("gone", old), ("new", new)]


def _changes(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[Change, str]]:
    matcher = SequenceMatcher(None, before, after)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            yield "same", "".join(before[i:j])
            continue
        if i < j:
            yield "gone", "".join(before[i:j])
        if k < m:
            yield "new", "".join(after[k:m])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+\s*|[^\w\s]\s*|\s+", text)


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
