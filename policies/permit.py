"""`Permit`: which tools may be called, with which arguments, and after which content."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from attrs import field, frozen

from loopwright.calls import ToolCall, ToolResult
from loopwright.decisions import Decision, Refuse
from loopwright.errors import BadInput
from loopwright.events import Intended, Returned
from loopwright.policies.given import listed
from loopwright.policy import Policy
from loopwright.run import Run

Rule = bool | Mapping[str, str] | Callable[[ToolCall], bool]
"""Whether a call is permitted: always or never, by patterns of its arguments, or by a function."""


def _rules(policy: object, attribute: object, rules: Any) -> None:
    if not isinstance(rules, Mapping) or not all(isinstance(name, str) for name in rules):
        raise BadInput(
            f"Permit({rules!r}): give what is permitted by tool, such as Permit({{'search_*': "
            "True, 'send': {'to': '*@example.org'}})"
        )
    for name, rule in rules.items():
        texts = isinstance(rule, Mapping) and all(isinstance(p, str) for p in rule.values())
        if not (isinstance(rule, bool) or callable(rule) or texts):
            raise BadInput(
                f"Permit: {name!r}: {rule!r}: say True, False, patterns of its arguments by name, "
                "or give a function of the call"
            )


def _patterns(names: Any) -> tuple[str, ...]:
    found = listed("Permit", "names of tools", names)
    if not all(isinstance(name, str) for name in found):
        raise BadInput(f"Permit: {names!r}: give a list of names of tools, such as ['fetch_*']")
    return found


@frozen(str=False)
class Permit(Policy):
    """Refuses every tool call that is not permitted. The model reads why, and can do otherwise.

    `rules` say by the name of the tool, in which ``*`` stands for anything, what is permitted:
    ``True``, ``False``, patterns that named arguments must fit, or a function of the call. The
    first name that fits counts, and a tool that none fits is refused. An argument that is no text
    or that is missing fits no pattern.

    `outside` are the tools whose results come from outside, beside those that say so themselves
    with the label ``"outside"``. Once such a result or error is in the conversation, its author may
    speak through the model, and only the tools that fit `after` are permitted still; by default
    none is. Within a delegate that is called from then on that holds, too, where tools say it of
    themselves. Leave `outside` empty, and `after` at ``("*",)``, to pay no regard to that. Calls of
    the same reply as the one that brings the content in were decided on before it was read.

    Stands above `Approve`: a person is not asked about what is not permitted. Raises `BadInput` for
    a rule that cannot work.

    >>> permit = Permit({"search": True, "send": {"to": "*@example.org"}}, outside=["search"])
    >>> from loopwright.events import Setting
    >>> send = ToolCall("1", "send", {"to": "eve@example.com"})
    >>> permit.decide(Run("r", Setting("m:m")).but(moment="call", call=send))
    Refuse(why="send is not permitted with this to: 'eve@example.com'", ending=None)
    """

    models: ClassVar[tuple[str, ...]] = ()
    """It never leads to another model."""

    rules: Mapping[str, Rule] = field(validator=_rules)
    outside: tuple[str, ...] = field(default=(), converter=_patterns, kw_only=True)
    after: tuple[str, ...] = field(default=(), converter=_patterns, kw_only=True)

    @property
    def tools(self) -> tuple[str, ...]:
        """The patterns of the tools that the rules are about."""
        return tuple(self.rules)

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if run.moment != "call" or not isinstance(call, ToolCall):
            return None
        why = self._forbidden(call) or self._too_late(run, call)
        return Refuse(why) if why else None

    def _forbidden(self, call: ToolCall) -> str:
        rule = next((r for name, r in self.rules.items() if fnmatchcase(call.name, name)), False)
        if isinstance(rule, bool):
            return "" if rule else f"{call.name} is not permitted here"
        if isinstance(rule, Mapping):
            return _misfit(call, rule)
        return "" if rule(call) else f"{call.name} is not permitted with these arguments"

    def _too_late(self, run: Run, call: ToolCall) -> str:
        if any(fnmatchcase(call.name, pattern) for pattern in self.after):
            return ""
        source = self._source(run)
        return source and f"{call.name} is not permitted any more: {source}"

    def _source(self, run: Run) -> str:
        """What brought in content from outside last, if anything did."""
        marked: set[str] = set()
        for i in range(run.seq - 1, -1, -1):
            match run.events[i]:
                case Returned(call=name, result=ToolResult(outside=True)):
                    marked.add(name)
                case Intended(call=ToolCall(id=id, name=name)):
                    if id in marked or self._is_outside(run, name):
                        return f"the conversation holds what {name} brought in from outside"
        return "the run that called this one had heard strangers" if run.outside else ""

    def _is_outside(self, run: Run, name: str) -> bool:
        """Whether strangers speak through a tool, be it in a result or in an error."""
        labelled = run.task is not None and run.task.is_outside(name)
        return labelled or any(fnmatchcase(name, each) for each in self.outside)


def _misfit(call: ToolCall, patterns: Mapping[str, str]) -> str:
    for name, pattern in patterns.items():
        value = call.arguments.get(name)
        if not isinstance(value, str) or not fnmatchcase(value, pattern):
            return f"{call.name} is not permitted with this {name}: {value!r:.100}"
    return ""
