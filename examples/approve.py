"""A run that waits for a person, and that another process carries on.

    uv run examples/approve.py                      starts it: the run waits, the process ends
    uv run examples/approve.py approve RUN          another process answers, and goes on
    uv run examples/approve.py deny RUN "Too much."

The model is scripted, so that this needs no key; nothing else is.
"""

import sys
from typing import Any

from loopwright import Loop, Outcome, Task
from loopwright.calls import Request, ToolCall, ToolResult
from loopwright.models import Scripted
from loopwright.policies import Approve
from loopwright.tools import tool


@tool(effect="unsafe")
def refund(order: str, euros: float) -> str:
    """Pay money back."""
    print(f"  (the tool runs: {euros} euros for order {order})")
    return f"{euros} euros were paid back for order {order}"


def clerk(request: Request) -> Any:
    """What a model would say."""
    last = request.messages[-1].blocks[-1]
    if isinstance(last, ToolResult):
        return f"Dear customer, we have looked at your order: {last.content}"
    return ToolCall("1", "refund", {"order": "A-17", "euros": 40.0})


task = Task("Answer this letter: {letter}", tools=[refund], name="letter")
loop = Loop(Scripted(clerk), policies=[Approve("refund")], log="approvals.db", watch=True)


def main() -> None:
    if len(sys.argv) > 2:
        said, run_id = sys.argv[1:3]
        loop.answer(run_id, said, by="Ada", note=" ".join(sys.argv[3:]))
        run = loop.resume_now(run_id, task)
    else:
        run = loop.run_now(task, letter="My cup arrived broken. I paid 40 euros. Order A-17.")
    if run.outcome is Outcome.waiting:
        print(f"\nThe run waits. Say yes or no, from any process:\n  {run.why}")
        print(f"  uv run examples/approve.py approve {run.run_id}")
    else:
        print(f"\n{run.outcome}: {run.output}")


if __name__ == "__main__":
    main()
