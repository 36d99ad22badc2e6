"""What a notebook shows of a run."""

from loopwright.calls import NANO
from loopwright.run import Run
from loopwright.show.lines import Line, lines
from loopwright.show.markup import escaped, row


def html(run: Run) -> str:
    """The run as a small table, for a notebook. Nothing in it is taken as markup."""
    head = row("th", ("step", "called", "what came of it", "tokens", "USD", "decided, and why"))
    body = "".join(row("td", _cells(line)) for line in lines(run.events))
    outcome = run.outcome or "open"
    verified = " (verified)" if run.verified else ""
    title = f"{escaped(run.title)}: <b>{escaped(outcome)}</b>{verified}"
    facts = f"{run.cost:.6f} USD, {run.seconds:.1f} s, run {escaped(run.run_id)}"
    why = f"<div>{escaped(run.why)}</div>" if run.why else ""
    return f"<div>{title} — {facts}{why}<table><thead>{head}</thead>{body}</table></div>"


def _cells(line: Line) -> tuple[str, ...]:
    usd = f"{line.nano / NANO:.6f}" if line.nano else ""
    came, said = "\n".join(line.came), "\n".join(line.said)
    return str(line.step), line.what, came, str(line.tokens or ""), usd, said
