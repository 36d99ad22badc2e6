"""Configuration: the same objects as in code, and errors with file and line."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright import BadInput, Budget, Loop, Outcome, Task, unlimited
from loopwright.lint import lint
from loopwright.models import Rehearsal, Scripted, catalogue
from loopwright.models.rehearsal import CallTool, faults
from loopwright.policies import Degrade, Escalate, Fallback, Retry
from loopwright.policies.config import KINDS, Configuration, load
from loopwright.policies.marked import Format, marked
from loopwright.policies.timeout import Timeout
from loopwright.tools import delegate, tool

SAMPLE = """
# A typical orchestrator.
policies = [{ Budget = { usd = 0.05, seconds = 60 } }]

[loops.classifier]
model = "anthropic:claude-haiku-4-5"
policies = [{ Timeout = { seconds = 5 } }, { Retry = { times = 2, backoff = 0.01 } }]

[loops.writer]
model = "openai:gpt-6-luna"
policies = [
    { Timeout = { seconds = 15 } },
    { Retry = { times = 1, backoff = 0.01 } },
    { Fallback = ["spare:gpt-6-sol"] },
]

[providers.anthropic]
base_url = "URL"
key = "SAMPLE_KEY"

[providers.openai]
base_url = "URL/v1"
key = "SAMPLE_KEY"

[providers.spare]
base_url = "URL/v1"
key = "SAMPLE_KEY"

[prices]
"spare:gpt-6-sol" = { input = 0.10, output = "0.40" }

[tools.weather]
timeout = 10
retries = 2
cache_seconds = 300

[limits.promote]
model_calls = 4
"""

AS_YAML = """
policies:
  - Budget: {usd: 0.05, seconds: 60}
loops:
  classifier:
    model: anthropic:claude-haiku-4-5
    policies:
      - Timeout: {seconds: 5}
      - Retry: {times: 2, backoff: 0.01}
  writer:
    model: openai:gpt-6-luna
    policies:
      - Timeout: {seconds: 15}
      - Retry: {times: 1, backoff: 0.01}
      - Fallback: ["spare:gpt-6-sol"]
providers:
  anthropic: {base_url: URL, key: SAMPLE_KEY}
  openai: {base_url: URL/v1, key: SAMPLE_KEY}
  spare: {base_url: URL/v1, key: SAMPLE_KEY}
prices:
  spare:gpt-6-sol: {input: 0.10, output: "0.40"}
tools:
  weather: {timeout: 10, retries: 2, cache_seconds: 300}
limits:
  promote: {model_calls: 4}
"""


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_KEY", "rehearsal")


@tool(effect="read")
def weather(city: str) -> str:
    """The weather."""
    return f"rain in {city}"


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(("text", "format"), [(SAMPLE, "toml"), (AS_YAML, "yaml")])
def test_it_gives_the_objects_of_code(text: str, format: Format) -> None:
    config = load(text.replace("URL", "http://127.0.0.1:1"), format)
    rest = (Budget(usd=Decimal("0.05"), seconds=60),)
    assert {name: setup.model for name, setup in config.loops.items()} == {
        "classifier": "anthropic:claude-haiku-4-5",
        "writer": "openai:gpt-6-luna",
    }
    assert config.loops["classifier"].policies == (Timeout(5), Retry(2, 0.01), *rest)
    writer = (Timeout(15), Retry(1, 0.01), Fallback("spare:gpt-6-sol"), *rest)
    assert config.loops["writer"].policies == writer
    assert config.policies == rest
    assert config.limits == {"promote": Budget(model_calls=4)}
    assert config.tools == {"weather": {"timeout": 10.0, "retries": 2, "cache_seconds": 300.0}}
    assert [provider.name for provider in config.providers] == ["anthropic", "openai", "spare"]
    assert catalogue.quote("spare:gpt-6-sol", 1_000_000, 1_000_000).high == 500_000_000


@pytest.mark.usefixtures("key")
def test_the_sample_works(tmp_path: Path) -> None:
    """The classifier is retried; the writer's provider is down, and the spare one carries on."""
    steps: dict[str, list[Any]] = {
        "claude-haiku-4-5": [faults.overloaded(), "sports"],
        "gpt-6-luna": [faults.overloaded(), faults.overloaded()],
        "gpt-6-sol": [CallTool("weather", {"city": "Ulm"}), "It rains."],
    }
    with Rehearsal(lambda request: steps[request.model].pop(0)) as rehearsal:
        path = tmp_path / "runs.toml"
        path.write_text(SAMPLE.replace("URL", rehearsal.url))
        config = load(path)
        classified = config.loop("classifier").run_now(Task("Classify."))
        told = config.tool(weather)
        task = Task("Write.", tools=[told], limits=config.limits["promote"])
        loop = config.loop("writer", log=tmp_path / "runs.db")
        written = loop.run_now(task)
    assert (classified.outcome, classified.output) == (Outcome.accepted, "sports")
    assert [d.policy for d in classified.decisions][:3] == ["Timeout", "Retry", "Timeout"]
    assert (written.outcome, written.output) == (Outcome.accepted, "It rains.")
    assert written.models == ("openai:gpt-6-luna", "spare:gpt-6-sol")
    assert (told.timeout, told.retries, told.cache_seconds) == (10.0, 2, 300.0)
    assert weather.timeout == 60.0
    assert not lint(loop.policies, task, loop.model, answered=True).errors


def test_a_timeout_bounds_each_model_call_of_its_models() -> None:
    slow = Scripted(["late"], name="slow", latency=5)
    quick = Scripted(["in time"], name="quick")
    policies = [Timeout(0.01, model="slow:*"), Fallback("quick:quick")]
    run = Loop(slow, providers=[quick], policies=policies).run_now(Task("x"))
    assert (run.output, run.models[-1]) == ("in time", "quick:quick")
    assert slow.requests[0].timeout == 0.01
    assert quick.requests[0].timeout > 100
    for wrong in (0, -1, "5", True, float("inf"), float("nan")):
        with pytest.raises(BadInput, match="give a positive number of seconds"):
            Timeout(wrong)


def test_a_file_with_a_single_loop() -> None:
    config = load('model = "scripted:scripted"\npolicies = ["Retry", { Escalate = [] }]\n')
    assert config.model == "scripted:scripted"
    assert config.policies == (Retry(), Escalate())
    loop = config.loop(providers=[Scripted(["Hello."])])
    assert loop.run_now(Task("Hi.")).output == "Hello."
    replaced = config.loop(model=Scripted(["Bye."]), policies=[])
    assert (replaced.run_now(Task("Hi.")).output, replaced.policies) == ("Bye.", ())


def test_what_a_file_can_say_of_arguments() -> None:
    config = load("""
    [[policies]]
    Escalate = { models = ["world:strong"], person = true }
    [[policies]]
    Budget = { usd = "unlimited", tokens = inf, seconds = 1.5 }
    """)
    assert config.policies == (
        Escalate("world:strong", person=True),
        Budget(usd=unlimited, tokens=unlimited, seconds=1.5),
    )


def test_a_list_of_models_is_what_it_looks_like() -> None:
    for said in ('["a:b", "c:d"]', '[["a:b", "c:d"]]', '{ models = ["a:b", "c:d"] }'):
        config = load(f"\npolicies = [{{ Degrade = {said} }}, {{ Fallback = ['a:b'] }}]\n")
        assert config.policies == (Degrade(["a:b", "c:d"]), Fallback("a:b"))


def test_the_options_of_whatever_is_a_tool() -> None:
    config = load("\n[tools.poet]\ntimeout = 60\n[tools.other]\nretries = 1\n")
    loop = Loop(Scripted(["Oh!"]))
    assert config.tool(delegate(Task("x"), loop, usd=0, name="poet")).timeout == 60
    with pytest.raises(BadInput, match="the tool 'other' has no retries: take it out of the conf"):
        config.tool(delegate(Task("x"), loop, usd=0, name="other"))
    for wrong in (len, [], None):
        with pytest.raises(BadInput, match="is no tool: decorate the function with @tool"):
            config.tool(wrong)


def test_money_is_exact() -> None:
    (budget,) = load("\npolicies = [{ Budget = { usd = 0.1000000000000000055 } }]\n").policies
    assert budget.usd == Decimal("0.1000000000000000055")  # type: ignore[attr-defined]


# ----------------------------------------------------------------------------------- the errors

WRONG = [
    ("model = \n", 1, "Invalid value"),
    ('\nmodel = "gpt-6"\n', 2, "'gpt-6' names no model: write 'provider:model'"),
    ("\nmodel = 3\n", 2, "model is a text, and not 3"),
    ('\nmodel = "a:b"\nmodels = 3\n', 3, "there is no 'models' here: did you mean 'model'?"),
    ('\npolicies = "Retry"\n', 2, "policies is a list, read from top to bottom"),
    ("\npolicies = [\n  {Retry={}},\n  {Retyr={}},\n]\n", 4, "did you mean 'Retry'?"),
    ('\npolicies = [\n  "Retry",\n  "os.system",\n]\n', 4, "there is no policy 'os.system'; known"),
    ("\npolicies = [\n  {Retry={}},\n  {Retry={times=-1}},\n]\n", 4, "Retry(times=-1)"),
    (
        "\npolicies = [\n  {Retry={}}, # Retry\n  {Retry={tims=1}},\n]\n",
        4,
        "there is no 'tims' her",
    ),
    ("\npolicies = [{Retry={}, Budget={}}]\n", 2, "is no policy: write { Retry = { times = 2 } }"),
    ("\npolicies = [{Policy={}}]\n", 2, "there is no policy 'Policy'"),
    ("\npolicies = [{Judge={rubric='x'}}]\n", 2, "Judge is a check: it is written in code"),
    ("\npolicies = [{AskPerson={question='x'}}]\n", 2, "AskPerson needs a function of yours"),
    ("\npolicies = ['Route']\n", 2, "Route needs a function of yours: it is written in code"),
    (
        "\npolicies = [{Retry={on='timeout'}}]\n",
        2,
        "give times by kind, such as {'rate_limited': 5}",
    ),
    ("\n[loops.a]\nmodel='a:b'\n[loops.b]\nmodel='b'\n", 5, "'b' names no model"),
    ("\n[loops.a]\nmodel='a:b'\n[loops.b]\nlimits=3\n", 5, "there is no 'limits' here"),
    ("\n[loops]\na = 3\n", 3, "a is a table of names, and not 3"),
    ("\n[limits.a]\nusd = -1\n", 2, "Budget(usd=-1)"),
    ("\n[limits.a]\nsecs = 1\n", 3, "there is no 'secs' here"),
    ("\n[tools.a]\nretries = 1.5\n", 3, "retries is a whole number, and not"),
    ("\n[tools.a]\ntimeout = 0\n", 3, "timeout is a number of seconds, and not 0"),
    ("\n[tools.a]\ntimeout = 1\n[tools.timeout]\ntimeout = 0\n", 5, "timeout is a number of sec"),
    ("\n[loops.a]\nmodel='a:b'\n[loops.'model']\nmodel='b'\n", 5, "'b' names no model"),
    ("\n[tools.a]\nretry = 1\n", 3, "did you mean 'retries'?"),
    ('\n[prices]\n"a:b" = { input = 1 }\n', 3, "a:b needs output = ..., in USD per million"),
    ('\n[prices]\n"a:b" = { input = 1, output = -2 }\n', 3, "-2 is no amount"),
    ('\n[prices]\n"ab" = { input = 1, output = 2 }\n', 3, "'ab' names no model"),
    ('\n[providers.mine]\nkey = "MINE_KEY"\n', 2, "nobody knows where the server 'mine' is"),
    ('\n[providers.openai]\nkey = "NEVER_SET_KEY"\n', 2, "variable NEVER_SET_KEY is not set"),
    ('\n[providers.groq]\nkey = "hunter2"\n', 3, "key names an environment variable"),
    ('\n[providers.groq]\nkey = ""\n', 3, "key is a text, and not ''"),
    ('\n[providers.groq]\nkeys = "A_KEY"\n', 3, "there is no 'keys' here: did you mean 'key'?"),
]


@pytest.mark.parametrize(("text", "line", "why"), WRONG)
def test_what_cannot_work_is_told_with_its_line(
    text: str, line: int, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "runs.toml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        load(path)
    assert str(caught.value).startswith(f"runs.toml, line {line}: ")
    assert why in str(caught.value)


WRONG_YAML = [
    ("model: [a\n", 2, "expected"),
    ("model: a:b\nmodel: c:d\n", 2, "'model' stands there twice"),
    ("a: &x [1]\nb: *x\n", 1, "write it out: no anchor, alias or tag"),
    ("model: !!python/object/apply:os.system [ls]\n", 1, "no anchor, alias or tag"),
    ("- model\n", 1, "at the top stand keys"),
    ("model: a:b\npolicies:\n  - Retry:\n      tims: 1\n", 4, "there is no 'tims' here"),
    ("policies:\n  - Retry: {times: 010}\n", 2, "Retry(times='010')"),
    ("policies:\n  - Escalate: {person: on, models: [ab]}\n", 2, "Escalate('ab')"),
    ("? [a, b]\n: 1\n", 1, "a key is a text"),
    ("model: a:b\n--- \nmodel: a:b\n", 2, "but found another document"),
]


@pytest.mark.parametrize(("text", "line", "why"), WRONG_YAML)
def test_yaml_that_cannot_work_is_told_with_its_line(
    text: str, line: int, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "runs.yml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        load(path)
    assert str(caught.value).startswith(f"runs.yml, line {line}: ")
    assert why in str(caught.value)


def test_yaml_words_stay_the_words_that_they_are() -> None:
    said = "a: [on, off, no, 010, 1:30, 2026-11-21, 1_000, .inf, true, ~, 1, -0.5, '1']\n"
    read = marked(said, "it", "yaml").data["a"]
    words = ["on", "off", "no", "010", "1:30", "2026-11-21", "1_000", ".inf"]
    assert read == [*words, True, None, 1, Decimal("-0.5"), "1"]


@pytest.mark.parametrize("text", ["a: " + "[" * 50, "a: " + "[" * 30 + "]" * 30, "[" * 90_000])
def test_yaml_that_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="the file"):
        marked(text, "the file", "yaml")


@pytest.mark.parametrize("text", ["a = " + "[" * 90_000, "a" * 1_000_001])
def test_toml_that_no_person_wrote_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="the file"):
        marked(text, "the file", "toml")


SECRET = "sk-ant-api03-" + "x7" * 20


@pytest.mark.parametrize("text", [f'\nkey = "{SECRET}"\n', f"\n# {SECRET}\n", f"\n{SECRET} = 1\n"])
def test_a_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(BadInput, match="line 2: this looks like a key") as caught:
        load(text)
    assert SECRET not in str(caught.value)


def test_a_value_of_a_secret_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_TOKEN", "correct-horse-battery")
    with pytest.raises(BadInput, match="line 3: this looks like a key"):
        load('\nmodel = "a:b"\nlog = "correct-horse-battery"\n')


def test_a_file_that_is_not_there_and_a_loop_that_is_not_there(tmp_path: Path) -> None:
    for wrong in (b"model = 'a:b'", None, 5):
        with pytest.raises(BadInput, match="give the path of a file, or its text"):
            load(wrong)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="cannot be read"):
        load(tmp_path / "none.toml")
    with pytest.raises(BadInput, match="has no loop 'writr': did you mean 'writer'"):
        load("\n[loops.writer]\n").loop("writr")
    with pytest.raises(BadInput, match="names no model"):
        Configuration().loop()


def test_only_what_is_exported_can_be_named() -> None:
    assert {"Retry", "Escalate", "Approve", "Budget", "Timeout"} <= KINDS.keys()
    assert not {"Policy", "Policies", "Judge", "unlimited"} & KINDS.keys()


# ------------------------------------------------------------------------------------- the laws

names = st.sampled_from(["model", "policies", "writer", "a.b", "x y", "Retry", "#", "log"])
scalars = (
    st.integers() | st.booleans() | st.sampled_from(["Retry", "a = 1", "# no", "[x]", '"', ""])
)
tables = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=80)
@given(st.dictionaries(names, tables, max_size=4), st.sampled_from(["toml", "yaml"]))
def test_whatever_stands_there_is_loaded_or_told_with_its_line(
    data: dict[str, Any], format: Format
) -> None:
    text = _toml(data) if format == "toml" else json.dumps(data, indent=1)
    assert marked(text, "it", format).data == data
    try:
        load(text + "\n", format)
    except BadInput as error:
        line = int(str(error).removeprefix("the configuration, line ").split(":")[0])
        assert 1 <= line <= text.count("\n") + 2


def _toml(data: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in data.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        pairs = ", ".join(f"{json.dumps(key)} = {_value(one)}" for key, one in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)


@settings(max_examples=80)
@given(
    st.lists(st.sampled_from(["Retry", "Budget", "Escalate"]), min_size=1, max_size=6), st.data()
)
def test_the_line_is_that_of_the_policy(kinds: list[str], data: st.DataObject) -> None:
    """One policy a line, of which one has an argument that there is not."""
    wrong = data.draw(st.integers(0, len(kinds) - 1))
    toml = [
        f"{{ {k} = {{ {'nonsense = 1' if i == wrong else ''} }} }}," for i, k in enumerate(kinds)
    ]
    yaml = [f"- {k}: {{{'nonsense: 1' if i == wrong else ''}}}" for i, k in enumerate(kinds)]
    for format, lines in (("toml", ["policies = [", *toml, "]"]), ("yaml", ["policies:", *yaml])):
        with pytest.raises(BadInput, match=f"line {wrong + 2}: there is no 'nonsense' here"):
            load("\n".join(lines) + "\n", format)  # type: ignore[arg-type]
