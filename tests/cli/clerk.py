"""A clerk's loop, to be carried on by commands, and what reads the answers of commands."""

import json
from collections.abc import Callable
from typing import Any

from click.testing import Result

Typed = Callable[..., Result]

APP = '''
"""A clerk who asks before money is paid back; what was paid stands in a file."""
from pathlib import Path

from loopwright import Loop, Task
from loopwright.calls import ToolCall, ToolResult
from loopwright.models import Scripted
from loopwright.policies import Approve
from loopwright.tools import tool


@tool(effect="unsafe")
def refund(order: str, euros: float) -> str:
    """Pay money back."""
    with Path(__file__).with_name("paid").open("a") as paid:
        paid.write(f"{order} {euros}\\n")
    return f"{euros} euros"


def clerk(request):
    last = request.messages[-1].blocks[-1]
    if isinstance(last, ToolResult):
        return f"Dear customer: {last.content}"
    return ToolCall("1", "refund", {"order": "A-17", "euros": 40.0})


task = Task("Answer: {letter}", tools=[refund], name="letter")
loop = Loop(Scripted(clerk), policies=[Approve("refund")], log=Path(__file__).with_name("runs.db"))
other = "no loop"
'''


def data(result: Result) -> Any:
    """The one JSON document that a command gave, which is printable ASCII."""
    assert result.stdout.isascii()
    assert result.stdout.removesuffix("\n").isprintable()
    return json.loads(result.stdout)
