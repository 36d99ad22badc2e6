"""Facts: calls, and what came of them, as attributes in the names of the GenAI conventions.

Which version of them, `loopwright.otlp.spans` says.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from loopwright.calls import (
    NANO,
    Answer,
    Call,
    Cost,
    ModelCall,
    Question,
    Reply,
    Sleep,
    ToolCall,
    ToolResult,
    Usage,
)
from loopwright.codec import encode
from loopwright.events import Decided, Failed, Returned
from loopwright.otlp.content import Content, arguments, heard, prompted, replied, title
from loopwright.run import Run
from loopwright.spending import unbilled

Attributes = Mapping[str, Any]

PROVIDERS = {"gemini": "gcp.gemini", "mistral": "mistral_ai", "openai-chat": "openai"}
"""The providers that the conventions call otherwise; all others keep the name that they have."""

FINISHES = {"tool_calls": "tool_call", "filter": "content_filter"}
"""The reasons for an end that the conventions call otherwise."""


def known(facts: Attributes) -> Attributes:
    """The attributes without those that say nothing."""
    return {name: fact for name, fact in facts.items() if fact is not None and fact not in ("", ())}


# ------------------------------------------------------------------------------------- the run


def agent(run: Run, content: Content) -> Attributes:
    """The task as an agent, with its prompt version as the agent's."""
    provider, model = _model(run.model)
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.agent.name": title(run, content),
        "gen_ai.agent.version": run.label or run.version,
        "gen_ai.conversation.id": run.run_id,
        "gen_ai.output.type": "json" if run.setting.output else "text",
        "loopwright.run": run.run_id,
        "loopwright.parent": run.parent,
        "loopwright.prompt.version": run.version,
    }


def used(usages: Iterable[Usage]) -> Attributes:
    """Tokens, with those of caches among those that went in, as the conventions count them."""
    there = list(usages)
    if not there:
        return {}
    written = sum(one.cache_write_short + one.cache_write_long for one in there)
    return {
        "gen_ai.usage.input_tokens": sum(one.input for one in there),
        "gen_ai.usage.output_tokens": sum(one.output for one in there),
        "gen_ai.usage.cache_read.input_tokens": sum(one.cache_read for one in there) or None,
        "gen_ai.usage.cache_write.input_tokens": written or None,
        "gen_ai.usage.reasoning.output_tokens": sum(o.output_reasoning for o in there) or None,
    }


def decision(event: Decided, content: Content) -> Attributes:
    """What a policy decided. Its reason may quote anything, and so is not sent unasked."""
    opinion = event.decision
    reasons = {
        "loopwright.decision.reason": getattr(opinion, "why", ""),
        "loopwright.decision.parameters": encode(event.parameters),
    }
    return {
        "loopwright.decision.moment": event.moment,
        "loopwright.decision.policy": event.policy,
        "loopwright.decision.kind": type(opinion).__name__,
        "loopwright.decision.call": event.about,
        "loopwright.decision.model": getattr(opinion, "to", ""),
        "loopwright.decision.after.seconds": getattr(opinion, "after", 0.0) or None,
        "loopwright.decision.overruled": event.others,
        "loopwright.decision.spent.usd": event.spent.at_most / NANO,
        **(reasons if content else {}),
    }


# ------------------------------------------------------------------------------------ its calls


def named(call: Call) -> str:
    """The name of a call's span: one of few, so that spans can be counted by it."""
    match call:
        case ModelCall(model=model):
            return f"chat {_model(model)[1]}"
        case ToolCall(name=name):
            return f"execute_tool {name}"
        case Question(purpose=purpose):
            return f"ask_person {purpose}"
    return "sleep"


def asked(call: Call, run: Run, cause: str, content: Content) -> Attributes:
    """A call as it was made. `cause` is the policy that made it necessary, if one did."""
    match call:
        case ModelCall():
            return _model_call(call, run, cause, content)
        case ToolCall():
            return _tool_call(call, arguments(call) if content is True else {})
        case Question():
            return _question(call, {"loopwright.question.text": call.text} if content else {})
    return _sleep(call)


def _model(name: str) -> tuple[str, str]:
    provider, _, model = name.partition(":")
    return PROVIDERS.get(provider, provider), model


def _model_call(call: ModelCall, run: Run, cause: str, content: Content) -> Attributes:
    provider, model = _model(call.model)
    answers = call.purpose == "answer"
    typed = "json" if run.setting.output else "text"
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": call.max_tokens,
        "gen_ai.request.reasoning.level": call.options.effort,
        "gen_ai.output.type": typed if answers else "",
        "gen_ai.prompt.name": title(run, content) if answers else "",
        "gen_ai.prompt.version": run.version if answers else "",
        "gen_ai.conversation.compacted": True if call.compaction else None,
        "loopwright.purpose": call.purpose,
        "loopwright.attempt": run.attempt if answers else None,
        "loopwright.retry.policy": cause,
        "loopwright.cost.quoted.usd": call.quote.high / NANO,
        **(prompted(call, run) if content is True else {}),
    }


def _tool_call(call: ToolCall, content: Attributes) -> Attributes:
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.call.id": call.id,
        "gen_ai.tool.type": "function",
        "loopwright.tool.effect": call.effect,
        "loopwright.tool.purpose": call.purpose,
        **content,
    }


def _question(call: Question, content: Attributes) -> Attributes:
    return {
        "loopwright.question.id": call.id,
        "loopwright.question.purpose": call.purpose,
        "loopwright.question.about": call.about,
        **content,
    }


def _sleep(call: Sleep) -> Attributes:
    return {
        "loopwright.sleep.seconds": call.seconds,
        "loopwright.sleep.about": call.about,
        "loopwright.sleep.idle": call.idle,
    }


# ------------------------------------------------------------------------------ what came of them


def came(call: Call, event: Returned, content: Content) -> Attributes:
    """What came of a call that succeeded."""
    facts = {"loopwright.seconds": event.seconds, "loopwright.cached": event.cached or None}
    match event.result:
        case Reply() as reply if isinstance(call, ModelCall):
            return {**facts, **_reply(call, reply, event, content)}
        case ToolResult() as result:
            cost = event.cost.high / NANO if event.cost.high else None
            more = {"loopwright.tool.cost.usd": cost, "loopwright.tool.error": result.error or None}
            return {**facts, **more, **(heard(result) if content is True else {})}
        case Answer() as answer if isinstance(call, Question):
            words = {"loopwright.question.answer": answer.text, "loopwright.question.by": answer.by}
            note = {"loopwright.question.note": answer.note}
            done = {"loopwright.question.answered": True}
            return {**done, **(words | note if content is True else {})}
    return {}


def _reply(call: ModelCall, reply: Reply, event: Returned, content: Content) -> Attributes:
    first = reply.first_token
    return {
        "gen_ai.response.model": reply.model or _model(call.model)[1],
        "gen_ai.response.finish_reasons": (FINISHES.get(reply.finish, reply.finish),),
        "gen_ai.response.time_to_first_chunk": first,
        "gen_ai.request.stream": True if first is not None else None,
        **used([reply.usage] if reply.usage else ()),
        **money(event.cost),
        "loopwright.cost.possible.usd": 0.0 if reply.usage else call.quote.high / NANO,
        "loopwright.request.id": reply.request_id,
        "loopwright.prefix": reply.sent.prefix,
        "loopwright.prefix.changed": reply.sent.changed,
        **(replied(reply) if content is True else {}),
    }


def money(cost: Cost) -> Attributes:
    """What something cost: exactly in nano-dollars, and in USD for people."""
    return {
        "loopwright.cost.usd": cost.high / NANO,
        "loopwright.cost.low.usd": cost.low / NANO,
        "loopwright.cost.nano_usd": cost.high,
        "loopwright.cost.table": cost.table,
    }


def failed(call: Call, event: Failed) -> Attributes:
    """What came of a call that did not succeed."""
    failure = event.failure
    facts: dict[str, Any] = {
        "loopwright.seconds": event.seconds,
        "http.response.status_code": failure.status,
        "loopwright.request.id": failure.request_id,
        "loopwright.retry_after.seconds": failure.retry_after,
    }
    if isinstance(call, ModelCall):
        facts["gen_ai.response.finish_reasons"] = ("error",)
        facts["loopwright.cost.possible.usd"] = 0.0 if unbilled(failure) else call.quote.high / NANO
    return facts


def doubt(call: Call) -> Attributes:
    """A call of which nobody knows what came."""
    if isinstance(call, Question):
        return {"loopwright.question.answered": False}
    if not isinstance(call, ModelCall):
        return {"loopwright.in_doubt": True}
    possible = call.quote.high / NANO
    return {
        "loopwright.in_doubt": True,
        "loopwright.cost.possible.usd": possible,
        "gen_ai.response.finish_reasons": ("error",),
    }
