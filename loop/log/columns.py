"""The columns of the log's views, in their order and in words: a public API.

A column is never renamed or taken away within a schema version, and a new one comes last.
"""

_ANYWHERE = {
    "run": "the id of the run; ids sort by when the run began",
    "step": "the pass of the loop, from 1; a fork counts on from those that it shares",
    "seq": "the number of the event in its run",
    "call": "the id of the call, unique in its run",
    "time": "when, in UTC",
    "task": "the title of the task",
    "version": "the digest of the prompt's template",
    "label": "the label of the prompt, if it was given one",
    "model": "the model, as provider:name",
    "purpose": "`answer`, or the name of the judge or policy that wanted the call",
    "root": "the run at the top of the tree: the one that nobody delegated",
    "parent": "the run whose tool call this run is, or ''",
    "state": "`returned`, `failed`, or `unknown`: under way, or in doubt",
    "failure": "the kind of the failure",
    "message": "the words of the failure",
    "seconds": "how long it took",
    "cached": "1 if the result was there from before",
    "model_calls": "calls to models",
    "tool_calls": "calls to tools",
    "cost_nano": "the cost in nano-dollars, exactly; where a tier is unknown, the highest",
    "cost_usd": "the same in USD",
    "attempts": "answers that the checks looked at",
    "input_tokens": "tokens in, from caches or not",
    "output_tokens": "tokens out, with those of the reasoning",
    "possibly_billed_usd": "the most that calls without figures may have cost",
    "failed": "calls that failed",
}
"""What a column is wherever its name stands and nothing else is said of it."""

_VIEWS = {
    "runs": """run parent task version label
        inputs: the inputs, as JSON
        model: the model that it began with
        outcome: how it ended; `waiting` for a person; `open` if it goes on, or its process died
        verified: 1 if it has checks and all of them agreed; null if it is not over
        why: why it ended so
        output: the accepted answer, or the best attempt
        started: when it began, in UTC
        seconds: from its first event to its last
        model_calls tool_calls
        cost_nano: in nano-dollars; with the most that a run it delegated had cost when it returned
        cost_usd
        events: how many events it has
        attempts root
        base: the run that it was forked from, or ''
        base_seq: the last event that it shares with `base`""",
    "steps": """run step
        first_seq: its first event
        last_seq: its last event
        time seconds model_calls tool_calls model
        failures: calls that failed
        cost_nano cost_usd
        decided: which policies spoke, and what they decided""",
    "model_calls": """run step seq call time model
        served_model: the model that answered, as the provider names it
        purpose
        policy: whose decision made the call necessary; null if the task did
        state
        finish: why the reply ended (stop, tool_calls, length, refusal, filter, paused, error)
        input_uncached: tokens in that no cache had
        cache_read: tokens in that a cache had
        cache_write: tokens in that were put in a cache
        output_visible: tokens out, without reasoning
        output_reasoning: tokens out that were reasoning
        cost_nano
        cost_low_usd: the lowest that it can have cost, where a tier is unknown
        cost_usd
        quoted_usd: the most that it could cost, which was reserved before
        possibly_billed_usd
        price_table: which prices made the cost: name, date and digest
        seconds
        first_token_seconds: when the first word came
        prefix: the digest of the beginning that a provider's cache can know
        prefix_changed: what changed in it since the call before
        repairs: what had to be repaired in the history before it was sent
        failure message
        status: the HTTP status of the failure
        retry_after: the seconds that the provider asked to wait
        request_id: the provider's id of the request
        cached
        possibly_billed_nano: the same as possibly_billed_usd in nano-dollars, exactly""",
    "tool_calls": """run step seq call time
        tool: the name of the tool
        arguments: the arguments, as JSON
        effect: what repeating it may do: read, idempotent, reconcilable or unsafe
        state
        result: what the tool gave
        failure message seconds cached
        purpose: `call`, or what follows one: `undo` or `reconcile`""",
    "decisions": """run step seq time
        moment: before a call, after a failure, or after an answer
        policy: who decided
        decision: TryAgain, Switch, Refuse, Ask, Amend, Accept or Stop
        why: the reason in words
        switched_to: the model of a Switch
        after_seconds: how long a TryAgain waits
        feedback: what the model is told
        call: the call that it is about
        parameters: those of the policy, as JSON
        overruled: policies whose opinions were overruled, as JSON
        settled_usd: what the run had spent by then
        reserved_usd: what was reserved then for calls under way
        presumed_usd: what calls in doubt may have cost by then
        model_calls: calls to models by then
        seconds: how old the run was then""",
    "problems": """run step seq time
        verdict: `problem`, or `undecided` if the check could not tell
        check: the name of the check
        problem: what it found wrong, in words""",
    "approvals": """run step seq call time
        policy: who asked
        purpose: what the question is for
        question: the words of the question
        about: the tool call that waits for it
        tool: the name of that tool
        arguments: the arguments of that call, as JSON
        answer: what was answered first; null if nothing was
        by: who answered
        note: what they added
        answered: when the run went on with it; null until then
        waited_seconds: how long that took
        withdrawn: 1 if the run took back what it had done before anybody answered""",
    "messages": """run seq time
        role: system, user, assistant, call (of a tool), tool or person
        text: the words; of a call its arguments, as JSON""",
    "trees": "run parent root task version label",
    "tasks": """task version label
        first_run: when the first run began
        runs: how many there are
        ended: how many are over
        accepted: how many were accepted
        at_once: how many were accepted at the first attempt
        acceptance: accepted, as a part of those that are over
        at_once_acceptance: at_once, as a part of those that are over
        attempts: attempts for each run, on the average
        model_calls
        cost_nano: the cost of its runs in nano-dollars, with those they delegated as in `runs`
        cost_usd
        usd_per_accepted: the cost of all runs for each accepted answer
        seconds: of those that are over, on the average
        longest_seconds: the longest of them""",
    "spend": """
        day: the day of the calls, in UTC
        root task version model purpose
        policy: whose decision made the calls necessary; '' if the task did
        model_calls failed input_tokens output_tokens cost_nano cost_usd possibly_billed_usd run""",
    "whatif": """
        policies: the other policies, as JSON
        run task version
        outcome: how it ended
        cost_nano cost_usd
        would_be: the outcome under the other policies; null if it is not known
        exact: 1 if the figures are exact for the whole run
        at_least_nano: what it costs at least, in nano-dollars
        at_least_usd: the same in USD
        at_most_nano: what it costs at most; null if nothing sets a limit
        at_most_usd: the same in USD
        seconds: up to where the decisions part
        model_calls: up to there
        model_calls_at_most: the most of them; null if nothing sets a limit
        seq: the event in whose place they part; null if they do not
        step: its step
        moment: before a call, after a failure, or after an answer
        recorded_policy: who decided
        recorded_decision: what was decided
        policy: who decides now
        decision: what is decided now
        why: the reason of that""",
    "calls": """run step seq call
        kind: ModelCall, ToolCall, Question or Sleep
        time: when, in seconds since 1970
        data: the intent, as JSON
        outcome: what came of it, as JSON
        came: the type of that event; null if there is none
        came_seq: its number
        came_time: its time, in seconds since 1970""",
    "ledger": """run seq time call model
        entry: reserved, settled, presumed or reconciled
        settled_nano: what it adds to what is settled, in nano-dollars
        reserved_nano: what it adds to what is reserved
        presumed_nano: what it adds to what is presumed spent
        excess_nano: what was billed beyond the reservation
        settled_usd: settled_nano in USD
        reserved_usd: reserved_nano in USD
        presumed_usd: presumed_nano in USD
        by: who reconciled it""",
    "ceilings": """
        ceiling: its name
        window: the calendar window, in UTC; '' for all time
        unit: what it counts: usd, tokens, requests or failures; null if no run names it any more
        model: the pattern of the models whose calls count; null if no run names it any more
        allowed: what it allows in each window; null if no run names it any more
        settled: what is used, in its unit; if that is null, nano-dollars as USD
        reserved: what calls under way may use
        presumed: what calls in doubt may have used
        remaining: what is left; null if no run names it any more""",
}


def _columns(text: str) -> dict[str, str]:
    """Of lines such as `name: words`, or of names that mean the same everywhere."""
    columns: dict[str, str] = {}
    for line in text.strip().splitlines():
        name, colon, words = line.strip().partition(": ")
        known = {name: words} if colon else {name: _ANYWHERE[name] for name in line.split()}
        columns.update(known)
    return columns


COLUMNS = {view: _columns(text) for view, text in _VIEWS.items()}
"""What each column of each public view says."""
