"""Secrets: keys of all known providers reach neither the file nor what is shown; words stay."""

import base64
import json
import random
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loopwright import Log, Loop, Outcome, Policy, Run, Task
from loopwright.calls import Failure, Reply, Text, ToolCall, ToolResult
from loopwright.codec import encode
from loopwright.decisions import Decision, TryAgain
from loopwright.log import redaction
from loopwright.log.redaction import MASK, Redaction
from loopwright.models import Scripted
from loopwright.policies import Approve
from loopwright.tools import tool

RANDOM = random.Random(7)
ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


def some(length: int, letters: str = ALNUM) -> str:
    """A part of a key; some characters of each kind are always there."""
    begin = "".join(kind for kind in ("aZ4", "b7") if set(kind) <= set(letters))
    return (begin + "".join(RANDOM.choices(letters, k=length)))[:length]


KEYS = {
    "Anthropic": f"sk-ant-api03-{some(93)}AA",
    "Anthropic admin": f"sk-ant-admin01-{some(80)}",
    "Anthropic OAuth": f"sk-ant-oat01-{some(80)}",
    "OpenAI": f"sk-{some(48)}",
    "OpenAI project": f"sk-proj-{some(60)}_{some(20)}-{some(40)}",
    "OpenAI service": f"sk-svcacct-{some(60)}",
    "Google": f"AIzaSy{some(33)}",
    "Azure": f"{some(52)}JQQJ99{some(26)}",
    "AWS": f"AKIA{some(16, string.ascii_uppercase + string.digits)}",
    "AWS session": f"ASIA{some(16, string.ascii_uppercase + string.digits)}",
    "AWS Bedrock": f"ABSK{some(128)}=",
    "Groq": f"gsk_{some(52)}",
    "DeepSeek": f"sk-{some(32, HEX)}",
    "OpenRouter": f"sk-or-v1-{some(64, HEX)}",
    "xAI": f"xai-{some(80)}",
    "Cerebras": f"csk-{some(48)}",
    "Hugging Face": f"hf_{some(34)}",
    "Together": f"tgp_v1_{some(43)}",
    "Fireworks": f"fw_{some(24)}",
    "Perplexity": f"pplx-{some(48)}",
    "Replicate": f"r8_{some(37)}",
    "NVIDIA": f"nvapi-{some(64)}",
    "Google, new": f"AQ.Ab8RN6{some(44)}",
    "Google OAuth": f"ya29.{some(100)}",
    "Voyage": f"pa-{some(43)}",
    "Jina": f"jina_{some(60)}",
    "Zhipu": f"{some(32, HEX)}.{some(16)}",
    "Databricks": f"dapi{some(32, HEX)}",
    "Firecrawl": f"fc-{some(32, HEX)}",
    "Pinecone": f"pcsk_{some(6)}_{some(63)}",
    "LangSmith": f"lsv2_pt_{some(32, HEX)}_{some(10, HEX)}",
    "Langfuse": f"sk-lf-{some(8, HEX)}-{some(4, HEX)}-{some(12, HEX)}",
    "Weights & Biases": f"wandb_v1_{some(70)}",
    "E2B": f"e2b_{some(40, HEX)}",
    "Supabase": f"sbp_{some(40, HEX)}",
    "Supabase secret": f"sb_secret_{some(22)}_{some(8)}",
    "Notion": f"ntn_{some(46)}",
    "Linear": f"lin_api_{some(40)}",
    "Shopify": f"shpat_{some(32, HEX)}",
    "Docker": f"dckr_pat_{some(27)}",
    "PyPI": f"pypi-AgEIcHlwaS5vcmc{some(100)}",
    "Vault": f"hvs.{some(90)}",
    "SendGrid": f"SG.{some(22)}.{some(43)}",
    "GitHub": f"ghp_{some(36)}",
    "GitHub app": f"ghs_{some(36)}",
    "GitHub fine-grained": f"github_pat_{some(22)}_{some(59)}",
    "GitLab": f"glpat-{some(20)}",
    "GitLab deploy": f"gldt-{some(20)}",
    "Slack": f"xoxb-{some(11, string.digits)}-{some(24)}",
    "Slack app": f"xapp-1-{some(11)}-{some(64, HEX)}",
    "Stripe": f"sk_live_{some(24)}",
    "Stripe restricted": f"rk_test_{some(24)}",
    "Stripe webhook": f"whsec_{some(32)}",
    "JWT": f"eyJ{some(30)}.eyJ{some(50)}.{some(40)}",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\n"
    + "\n".join(some(64) for _ in range(4))
    + "\n-----END RSA PRIVATE KEY-----",
    "cut private key": f"-----BEGIN PRIVATE KEY-----\n{some(64)}\n{some(64)}",
}
"""By their shape: wherever they stand."""

PLACED = {
    "Bearer": ("Authorization: Bearer {}", some(40)),
    "Basic": ("authorization: Basic {}", base64.b64encode(b"ada:open sesame").decode()),
    "Basic alone": ("Basic {}", base64.b64encode(b"user:password").decode()),
    "token": ("Authorization: Token {}", some(40, HEX)),
    "x-api-key": ("x-api-key: {}", some(40)),
    "Azure api-key": ("'api-key': '{}'", some(32, HEX)),
    "Azure subscription": ("Ocp-Apim-Subscription-Key: {}", some(32, HEX)),
    "Google": ("https://x.example/v1?q=1&api_key={}", some(39)),
    "Mistral": ("MISTRAL_API_KEY={}", some(32)),
    "Cohere": ('{{"co_api_key": "{}"}}', some(40)),
    "Cohere, escaped": ('{{\\"api_key\\": \\"{}\\"}}', some(40)),
    "headers": ("[(b'x-api-key', b'{}'), (b'a', b'b')]", some(40)),
    "AWS": ("aws_secret_access_key = {}", some(40)),
    "GitLab": ("PRIVATE-TOKEN: {}", some(20)),
    "cookie": ("Cookie: theme=dark; session={}", some(24)),
    "set-cookie": ("Set-Cookie: sid={}; Path=/; HttpOnly", some(24)),
    "URL": ("postgresql://ada:{}@db.example/shop", "hunter-2!x"),
    "OAuth": ("access_token={}&scope=all", some(40)),
    "token of a URL": ("https://x.example/v1?q=1&token={}", some(20)),
    "key of a URL": ("https://x.example/v1?key={}&q=1", some(24)),
    "Azure storage": ("https://x.example/c?sv=2022&sig={}", f"{some(40)}%3D"),
    "AWS, signed": ("https://x.example/b?X-Amz-Signature={}", some(64, HEX)),
    "AWS, as JSON": ('{{"SecretAccessKey": "{}"}}', some(40)),
    "AWS, session": ('{{"SessionToken":"{}"}}', some(100)),
}
"""By the place where they stand: how it reads, and the secret."""

ENVIRONMENT = "what only the environment knows"
SECRETS = [*KEYS.values(), *(secret for _, secret in PLACED.values()), ENVIRONMENT]
TEXTS = [*KEYS.values(), *(place.format(secret) for place, secret in PLACED.values()), ENVIRONMENT]


@pytest.mark.parametrize("name", [*KEYS, *PLACED])
@pytest.mark.parametrize("around", ["{}", "see {} here", '"{}"', "({})", "key={}", "\n{}\n", "é{}"])
def test_a_key_is_masked_wherever_it_stands(name: str, around: str) -> None:
    place, secret = PLACED.get(name, ("{}", KEYS.get(name, "")))
    text = around.format(place.format(secret)) if around != "é{}" else f"é {place.format(secret)}"
    found = Redaction({})
    assert secret not in found.masked(text), found.masked(text)
    assert MASK in found.masked(text)
    assert found.suspects(encode(text))
    assert found.masked(found.masked(text)) == found.masked(text)


def test_a_key_is_masked_by_the_name_that_it_is_held_under() -> None:
    data = {name: {"n": ["x", secret]} for name, secret in KEYS.items()}
    headers = {"X-Api-Key": some(32), "Cookie": f"a={some(9)}", "Authorization": some(32), "n": "x"}
    clean = Redaction({}).clean({**data, "headers": headers, "api_key": some(32), "key": "words"})
    said = json.dumps(clean)
    for secret in (*KEYS.values(), *headers.values()):
        assert secret == "x" or json.dumps(secret)[1:-1] not in said
    assert clean["headers"] == {name: "x" if name == "n" else MASK for name in headers}
    assert (clean["api_key"], clean["key"]) == (MASK, "words")


# ---------------------------------------------------------------------------- through the loop


class Raises(Policy):
    """Raises with all secrets in its words, once an answer is there."""

    def decide(self, run: Run) -> Decision | None:
        if run.failure and run.failure.status == 401:
            return TryAgain("it said " + ", ".join(TEXTS), after=0)
        if run.moment == "answer" and run.step > 4:
            raise ValueError("\n".join(TEXTS))
        return None


@tool(effect="read")
def fetch(url: str, headers: dict[str, str]) -> str:
    """Fetch."""
    return json.dumps({"echo": TEXTS}) + "\n".join(TEXTS)


@tool(effect="read")
def broken(begin: int) -> str:
    """Fails."""
    raise ConnectionError(f"401 for {TEXTS[begin : begin + 4]}")


@tool
def send(text: str) -> str:
    """Send."""
    return "sent"


def test_none_reaches_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", ENVIRONMENT)
    headers = {name: place.format(secret) for name, (place, secret) in PLACED.items()}
    calls = (
        ToolCall("1", "fetch", {"url": f"https://a:{SECRETS[0]}@x.example", "headers": headers}),
        *(ToolCall(f"b{i}", "broken", {"begin": i}) for i in range(0, len(TEXTS), 4)),
    )
    replies = [
        Failure("not_authenticated", f"wrong key: {TEXTS}", None, True, 401),
        Reply(calls, "tool_calls"),
        Reply((ToolCall("3", "send", {"text": json.dumps(TEXTS)}),), "tool_calls"),
        "I saw " + ", ".join(TEXTS),
    ]
    checks = [lambda answer: "Do not say " + ", ".join(TEXTS)]
    log = Log(tmp_path / "runs.db")
    task = Task("Use {key}.", tools=[fetch, broken, send], checks=checks, system="\n".join(TEXTS))
    loop = Loop(Scripted(replies), policies=[Raises(), Approve("send")], log=log)
    run = loop.run_now(task, key="\n".join(TEXTS))
    assert run.outcome is Outcome.waiting
    note = "\n".join(TEXTS)
    log.answer(run.run_id, "approve", by=SECRETS[3], note=note)
    run = loop.resume_now(run.run_id, task)
    assert run.outcome is Outcome.failed
    assert "ValueError" in repr(run.events[-1])
    log.search("saw")
    shown = repr(run) + str(run) + run._repr_html_() + repr(list(run.events)) + repr(run.messages)
    assert not [
        secret for secret in SECRETS if secret in shown or json.dumps(secret)[1:-1] in shown
    ]
    _absent(tmp_path)
    log.close()
    _absent(tmp_path)


def test_what_is_left_of_a_key_that_was_cut(log: Log) -> None:
    """Of a long error the middle is left out, and with it the beginning of a key."""
    key = f"sk-ant-{some(3000)}"

    @tool(effect="read")
    def long() -> str:
        """Fails."""
        raise ConnectionError(f"{key} is no key")

    loop = Loop(Scripted([ToolCall("1", "long"), "ok"]), log=log)
    run = loop.run_now(Task("Go.", tools=[long]))
    assert key[-100:] not in repr(run.events)


def _absent(folder: Path) -> None:
    written = b"".join(path.read_bytes() for path in folder.iterdir())
    for secret in SECRETS:
        for form in (secret, json.dumps(secret)[1:-1], *secret.split("\n")[1:2]):
            assert form.encode() not in written, form
    assert MASK.encode() in written


def test_what_is_set_later_is_known_as_well(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a file `.env` that is loaded when the log is open already."""
    monkeypatch.setenv("LATE_API_KEY", "set when the log was open")
    run = Loop(Scripted(["It was set when the log was open."]), log=log).run_now(Task("Say."))
    assert run.output == f"It was {MASK}."


ODD = "pä\"ss\n'wörd\\\\-\U0001f511/9</"


def _escaped_forms(secret: str) -> list[str]:
    """As JSON and Python write it, alone and in one another."""
    once = [json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret), ascii(secret)]
    forms = [form[1:-1] for form in once]
    inner = [json.dumps(form)[1:-1] for form in forms] + [repr({"a": form}) for form in forms]
    return [secret, *forms, *inner, json.dumps(inner[0])[1:-1], secret.replace("/", "\\/")]


@pytest.mark.parametrize("form", _escaped_forms(ODD))
def test_what_is_known_is_masked_however_it_is_escaped(form: str) -> None:
    found = Redaction({"ODD_TOKEN": ODD, "B_KEY": "an ordinary one"})
    said = found.masked(f"before {form} after an ordinary one.")
    assert said.endswith(f" after {MASK}.")
    assert MASK in said.removesuffix(f"{MASK}.")
    assert "1f511" not in said.lower()
    assert "\U0001f511" not in said
    assert found.suspects(encode({"a": form}))
    assert found.suspects(encode(json.dumps([form])))


def test_what_a_tool_gives_as_json_holds_none(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_TOKEN", ODD)

    @tool(effect="read")
    def settings_of(place: str) -> dict[str, str]:
        """Look."""
        return {"there": ODD, "in words": json.dumps({"repr": repr(ODD)})}

    loop = Loop(Scripted([ToolCall("1", "settings_of", {"place": "x"}), "ok"]), log=log)
    run = loop.run_now(Task("Go.", tools=[settings_of]))
    (said,) = [
        one.result for one in run.events if isinstance(getattr(one, "result", 0), ToolResult)
    ]
    assert json.loads(said.content) == {
        "there": MASK,
        "in words": json.dumps({"repr": f"'{MASK}'"}),
    }


def test_beside_what_json_cannot_hold(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_TOKEN", 'the "wörd" of the day')
    said = f'\ud800 the "wörd" of the day \0 {KEYS["OpenAI"]}'
    run = Loop(Scripted([Reply((Text(said),))]), log=log).run_now(Task("Say."))
    assert run.output == f"\ud800 {MASK} \0 {MASK}"


# ----------------------------------------------------------------------------------------- laws


@settings(max_examples=150)
@given(st.data())
def test_what_is_masked_is_suspected(data: st.DataObject) -> None:
    """The quick look at the text passes over nothing that the careful one would mask."""
    shape = data.draw(st.sampled_from([*redaction._KEYS]))
    text = data.draw(st.from_regex(shape, fullmatch=True).filter(str.isascii))
    found = Redaction({})
    if found.masked(text) != text:
        assert found.suspects(encode(text)) or found.suspects(text)


@pytest.mark.parametrize("write", [str.lower, str.upper, str.title, str])
@pytest.mark.parametrize(
    "name",
    [
        *("apiKey", "api_key", "api-key", "accessKey", "access_key", "authToken", "refreshToken"),
        *("sessionToken", "access_token", "accessToken", "client_secret", "private_token"),
        *("Authorization", "Ocp-Apim-Subscription-Key", "Cookie"),
    ],
)
def test_names_of_secrets_are_known_however_they_are_written(
    name: str, write: Callable[[str], str]
) -> None:
    text = f"{write(name)}: a=0123456789abcdef0123456789"
    found = Redaction({})
    assert found.masked(text) != text
    assert found.suspects(encode(text))


ORDINARY = [
    "def api_key(self) -> str:\n    return os.environ['OPENAI_API_KEY']",
    "api_key=os.environ['X_API_KEY_2'], access_token = get_access_token_v2(request)",
    "client = OpenAI(api_key=settings.openai_api_key)",
    "export ANTHROPIC_API_KEY=your-api-key-here",
    "Set the header `Authorization: Bearer <token>` or `x-api-key: $ANTHROPIC_API_KEY`.",
    "Bearer authentication is better than Basic Authentication; the bearer responsibilities.",
    "Basic Understanding of basic JavaScript, Basic Programming and basic getElementById",
    "<div class='sk-toggleable__content-arrow sk-nested-list-item-content'>",
    "risk-management-of-portfolios-2025 task_assigned_to_the_person_in_charge_1",
    "A cookie: chocolate, and cookies=[1, 2]; cookie = jar['session']",
    "authorization: required for all endpoints of version 2",
    "d41d8cd98f00b204e9800998ecf8427e 123e4567-e89b-12d3-a456-426614174000",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "http://localhost:8000/@x, mailto:me@example.com, git@github.com:a/b.git, http://[::1]:80/",
    "refresh_tokens(), max_tokens=4096, next_page_token: 17, idempotency_key=m4-0",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
    "claude-haiku-4-5-20251001 req_011CSHoEeqs5C35K2UUqR7Fy toolu_01A09q90qw90lq917835lq9",
    "SELECT token, secret FROM access_token WHERE auth_token = ?",
    "eyJhbGciOi is how a token begins",
    "jina_embeddings_v2_base_code, e2b_sandbox_timeout_seconds_2",
    "pa-system-for-the-conference-of-2025-in-the-city-hall, grandpa-2",
    "https://x.example/list?page_token=2&key=name&sort=1, ?nextPageToken=CAUQAA0123456789abcd",
    "9f86d081884c7d659a2feaa0c55ad015.tar.gz, SG.pdf, AQ. a self.token_of_the_other_side",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_texts_stay(text: str) -> None:
    assert Redaction({}).masked(text) == text
    assert Redaction({}).clean({"text": text, text[:30]: [text]}) == {
        "text": text,
        text[:30]: [text],
    }


WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=20)
ORDINARY_TEXT = st.one_of(
    st.lists(WORDS, max_size=30).map(" ".join),
    st.lists(WORDS, max_size=8).map("_".join),
    st.lists(WORDS, max_size=8).map("-".join).filter(lambda text: "sk-" not in text),
    st.binary(max_size=3000).map(lambda raw: base64.b64encode(raw).decode()),
    st.binary(max_size=64).map(bytes.hex),
    st.uuids().map(str),
    st.dictionaries(WORDS, st.integers() | WORDS | st.floats(allow_nan=False)).map(json.dumps),
)


@settings(max_examples=200)
@given(ORDINARY_TEXT)
def test_code_hashes_images_and_words_stay(text: str) -> None:
    assert Redaction({}).masked(text) == text


@settings(max_examples=50)
@given(
    st.lists(
        st.sampled_from(
            (
                *("sk-", "-----BEGIN RSA PRIVATE KEY-----", "://a:", "Bearer ", "x" * 40),
                *("cookie:", "api_key: ", "\\", '"', "?sig=", "eyJ", "."),
            )
        )
    )
)
@example(["cookie:"])
@example(["\\"])
def test_no_text_takes_long(pieces: Sequence[str]) -> None:
    """Nor does a repetition of what begins a key, of 100,000 characters, which ends at all only
    if no expression goes back over it again and again."""
    text = "".join(pieces) * (100_000 // max(1, sum(map(len, pieces))))
    masked: Any = Redaction({"A_KEY": '"\\\\"a key \\'}).masked(text)
    assert len(masked) <= len(text) + len(MASK) * text.count("a:")
