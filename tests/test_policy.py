"""The one rule of policies, as laws."""

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from loopwright import BadInput, Budget, Loop, Outcome, Policies, Policy, Task
from loopwright.calls import Failure, ModelCall
from loopwright.decisions import Accept, Ask, Decision, Stop, Switch, TryAgain
from loopwright.events import Setting
from loopwright.models import Scripted
from loopwright.policy import consult, flat
from loopwright.run import Run

RUN = Run("r", Setting("m:m")).but(
    moment="failure", call=ModelCall("m1", "m:m"), failure=Failure("timeout", "slow"), failures=1
)


@frozen
class Says(Policy):
    """A policy with this opinion."""

    opinion: Decision | None

    def decide(self, run: Run) -> Decision | None:
        return self.opinion


opinions = st.one_of(
    st.none(),
    st.builds(TryAgain, st.text(max_size=3)),
    st.builds(Switch, st.just("a:b"), st.text(max_size=3)),
    st.builds(Accept, st.text(max_size=3)),
    st.builds(Ask, st.text(max_size=3)),
    st.builds(Stop, st.text(max_size=3)),
)
members = st.lists(opinions.map(Says), max_size=8)
nested = st.recursive(
    opinions.map(Says), lambda inner: st.lists(inner, max_size=4), max_leaves=10
).map(lambda tree: tree if isinstance(tree, list) else [tree])


@given(members)
def test_the_first_opinion_wins_and_a_stop_wins_anywhere(policies: list[Says]) -> None:
    spoken = [policy.opinion for policy in policies if policy.opinion is not None]
    stops = [opinion for opinion in spoken if isinstance(opinion, Stop)]
    expected = next(iter(stops + spoken), None)
    assert Policies(policies).decide(RUN) == expected


@given(nested)
def test_nesting_is_flattening(policies: list[object]) -> None:
    def leaves(tree: object) -> list[Says]:
        if isinstance(tree, list):
            return [leaf for branch in tree for leaf in leaves(branch)]
        assert isinstance(tree, Says)
        return [tree]

    assert flat(policies) == tuple(leaves(policies))
    assert Policies(policies).decide(RUN) == Policies(leaves(policies)).decide(RUN)
    assert Policies([Policies(policies)]).decide(RUN) == Policies(policies).decide(RUN)


@given(members, st.integers(0, 8))
def test_none_is_the_identity(policies: list[Says], at: int) -> None:
    with_none = [*policies[:at], Says(None), *policies[at:]]
    assert Policies(with_none).decide(RUN) == Policies(policies).decide(RUN)
    assert Policies([]).decide(RUN) is None


@given(members, st.booleans())
def test_when_is_hearing_or_silence(policies: list[Says], heard: bool) -> None:
    whole = Policies(policies)
    expected = whole.decide(RUN) if heard else None
    assert whole.when(lambda run: heard).decide(RUN) == expected


@given(members)
def test_everybody_who_spoke_is_named(policies: list[Says]) -> None:
    opinion = consult(policies, RUN)
    spoken = [policy for policy in policies if policy.opinion is not None]
    assert (opinion is None) == (not spoken)
    assert opinion is None or len(opinion.others) == len(spoken) - 1


def test_a_bare_function_is_a_policy() -> None:
    def no_more(run: Run) -> Decision | None:
        return Stop("enough")

    (policy,) = flat(no_more)
    assert policy.decide(RUN) == Stop("enough")
    assert policy.name == "no_more"


def test_a_policy_that_raises_stops_the_run_as_failed() -> None:
    def broken(run: Run) -> Decision | None:
        raise KeyError("gone")

    opinion = consult(flat([Says(TryAgain()), broken]), RUN)
    assert opinion is not None
    assert opinion.decision == Stop("the policy broken raised KeyError: 'gone'", Outcome.failed)
    assert "in broken" in opinion.traceback


@pytest.mark.parametrize("said", [True, "stop", TryAgain, 3])
def test_a_policy_that_returns_something_else_stops_the_run_as_failed(said: object) -> None:
    opinion = consult(flat(lambda run: said), RUN)
    assert opinion is not None
    assert isinstance(opinion.decision, Stop)
    assert opinion.decision.outcome is Outcome.failed
    assert opinion.decision.why.endswith(
        "after a failed call, where it may say: TryAgain, Switch, Ask, Accept, Stop, or None"
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Says, "Says is a class: pass an object, Says(...)"),
        (3, "3 is no policy"),
        (["retry"], "'retry' is no policy"),
    ],
)
def test_what_is_no_policy_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(BadInput, match=message.replace("(", r"\(").replace(")", r"\)")):
        flat(wrong)


def test_a_list_is_limited_member_by_member() -> None:
    shared = Policies([Budget(usd=1, per="day", name="x")])
    with pytest.raises(BadInput, match="what runs share holds for all of them"):
        shared.when(lambda run: True)
    never = Policies([lambda run: Stop("no")]).when(lambda run: False)
    assert Loop(Scripted(["ok"]), policies=[never]).run_now(Task("x")).output == "ok"


def test_a_budget_that_is_subclassed_holds_and_tells_what_it_was_made_with() -> None:
    @frozen(str=False)
    class Small(Budget):
        label: str = field(default="", kw_only=True)
        half: int = field(init=False, default=2)

        def __attrs_post_init__(self) -> None:
            assert self.label

    small = Small(steps=1, label="a few")
    run = Loop(Scripted(["No."]), policies=[small, Budget(model_calls=0)]).run_now(Task("x"))
    assert run.why.startswith("the limit of 0 model calls")
    assert (small.parameters["label"], small.parameters["half"]) == ("a few", 2)
    assert "_watched" not in small.parameters
