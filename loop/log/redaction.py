"""Redaction: keys of providers and other secrets never reach the file.

What looks like a key by its well-known prefix is masked, and so is what stands where a secret
belongs (a header such as ``Authorization`` or ``x-api-key``, a cookie, the password or signature
of a URL), and every value of an environment variable whose name says that it is a secret. This is a
net, not a proof: a secret of unknown shape that a tool returns is not recognised.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

MASK = "[redacted]"

_BODY = r"[A-Za-z0-9_\-]"
_KEYS = (
    # Anthropic, OpenAI, DeepSeek, OpenRouter, Cerebras; words such as sk-nested-list-item are none
    rf"c?sk-(?=[a-z_\-]*(?:[A-Z0-9]|[a-z]{{20}})){_BODY}{{16,}}",
    rf"(?:xai|pplx|nvapi|tvly|xapp|GOCSPX|pypi)-{_BODY}{{16,}}",  # xAI, Perplexity, NVIDIA, …
    rf"pa-(?=[a-z0-9_\-]*[A-Z]){_BODY}{{40,}}",  # Voyage
    r"(?:fc-|dapi)[0-9a-f]{32}",  # Firecrawl, Databricks
    rf"gl[a-z]{{2,6}}-{_BODY}{{20,}}",  # GitLab
    r"xox[a-z]-[A-Za-z0-9\-]{10,}",  # Slack
    # Groq, Hugging Face, GitHub, Supabase, Shopify, Jina, E2B, Notion, Linear, …
    r"(?:gsk|hf|fw|r8|npm|api_org|gh[pousr]|sbp|shpat|jina|e2b|ntn|lin_api|vck|dop_v1|glsa)"
    r"_[A-Za-z0-9]{16,}",
    r"github_pat_[A-Za-z0-9_]{30,}",
    # Stripe, Together, Pinecone, LangSmith, Weights & Biases, …
    r"(?:[srp]k_(?:live|test)|whsec|(?:tgp|wandb)_v1|(?:pc)?sk|lsv2_(?:pt|sk)|sb_secret|dckr_pat|figd"
    rf"|sntrys)_(?=[A-Za-z_\-]*[0-9]){_BODY}{{16,}}",
    r"AIza[A-Za-z0-9_\-]{30,}",  # Google
    rf"(?:ya29|AQ|hvs|SG)\.(?=[A-Za-z_\-]*[0-9]){_BODY}{{16,}}(?:\.{_BODY}+)*",  # Google, Vault, …
    r"[0-9a-f]{32}\.[A-Za-z0-9]{16}(?![A-Za-z0-9])",  # Zhipu
    r"A[KS]IA[A-Z0-9]{16}",  # AWS
    r"ABSK[A-Za-z0-9+/]{40,}={0,2}",  # AWS Bedrock
    r"[A-Za-z0-9]{40,60}JQQJ99[A-Za-z0-9]{16,}",  # Azure
    r"eyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]{4,}){2,4}",  # JSON Web Tokens
    # A single long word after "Bearer" or "Basic" is a word, unless it looks like no other.
    r"[Bb]earer +(?=[A-Za-z_\-.~+/]*[0-9]|\S{20})[A-Za-z0-9_\-.~+/]{12,}=*",
    r"[Bb]asic +(?=[A-Za-z+/]*[0-9=]|(?:[A-Z]*[a-z]+[A-Z]){2})"
    r"(?:[A-Za-z0-9+/]{4}){2,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?(?![A-Za-z0-9+/=])",
    r"-----BEGIN [A-Z ]*PRIVATE KEY[A-Z ]*-----(?:[^-]*+(?:-[^-]++)*+-----END [A-Z ]*-----"
    r"|(?:(?:\s|\\[nr])*+[A-Za-z0-9+/=]{16,}+)*)",
)
_SHAPE = re.compile(rf"(?<![A-Za-z0-9_\-])(?=[A-Za-z0-9\-])(?:{'|'.join(_KEYS)})")
"""Only at the start of a word: the middle of a provider's signature may look like anything. What
each begins with is looked at first, here and below: it takes half of the time."""

_IS = r"""\\*["']?(?:\s*[:=]\s*|,\s*(?=b?\\*["']))(?:b?\\*["'])?"""
"""Between the name and the value, in a header, an assignment, JSON, or a pair of Python's."""

_ASKED = r"[?&](?i:(?:x-(?:amz|goog)-)?signature|sig|token|key|secret|password)="
"""In the query of a URL."""

_AT_PLACES = re.compile(
    r"(?=[AaCcPpRrSs:?&])(?:"
    r"((?i:api[_\-]?key|subscription-key|access[_\-]?key|client_secret|(?:security|private)[_\-]token"
    rf"|(?:access|refresh|auth|session)[_\-]?token|authorization){_IS}(?:[A-Za-z][\w\-]* +)?)"
    r"(?=[A-Za-z_\-.~+/=]{0,60}[0-9])(?!\[redacted)[A-Za-z0-9_\-.~+/=]{16,}+(?![(\[])"
    rf"|((?i:cookie){_IS})[^\s=:;,\"']++=[^\s;\"'][^\r\n\"']*"
    r"|(://[^\s/:@\"']{0,100}:)(?!\[redacted)[^\s/@\"'`{}<>]++(?=@)"
    rf"|({_ASKED})(?=[A-Za-z_\-.~+/%]{{0,60}}[0-9])[A-Za-z0-9_\-.~+/%=]{{16,}})"
)
"""What stands where a secret belongs; the place itself stays. A value without any digit is a word,
and what is called or indexed is code."""

_CAPITAL = re.compile(
    r"[ACJKT](?:(?<=A)(?:Iza|KIA|SIA|BSK|UTHORIZATION)|(?<=C)OOKIE|(?<=eyJ)|(?<=J)QQJ99"
    r"|(?<=[iIsS]K)(?:ey|EY)|(?<=[hnsHNS]T)(?:oken|OKEN))"
).search
_KEY = re.compile(r"key(?<=[is]key)").search
_TOKEN = re.compile(r"token(?<=[hns]token)").search
_DASH = re.compile(
    rf"-(?:(?<=[a-zX]-)(?={_BODY}{{10}})(?:(?<=sk-)|(?<=xai-)|(?<=plx-)|(?<=api-)|(?<=vly-)"
    r"|(?<=app-)|(?<=SPX-)|(?<=ypi-)|(?<=pa-)|(?<=fc-)|(?<=xox[a-z]-)|(?<=gl[a-z]{2}-)"
    r"|(?<=gl[a-z]{3}-)|(?<=gl[a-z]{4}-)|(?<=gl[a-z]{5}-)|(?<=gl[a-z]{6}-))"
    r"|----BEGIN|(?i:key|token)(?![A-Za-z]))"
).search
_LOW = re.compile(
    rf"_(?:(?<=[a-z0-9]_)(?={_BODY}{{16}})(?:(?<=[gps]k_)|(?<=hf_)|(?<=fw_)|(?<=r8_)|(?<=npm_)"
    r"|(?<=org_)|(?<=pat_)|(?<=2_pt_)|(?<=sbp_)|(?<=cret_)|(?<=jina_)|(?<=e2b_)|(?<=ntn_)"
    r"|(?<=figd_)|(?<=glsa_)|(?<=rys_)|(?<=api_)|(?<=vck_)|(?<=gh[pousr]_)|(?<=live_)|(?<=test_)"
    r"|(?<=sec_)|(?<=v1_))|(?i:key|token|secret|cookie|authorization)(?![A-Za-z]))"
).search
_DOT = re.compile(
    rf"\.(?={_BODY}{{16}})(?:(?<=ya29\.)|(?<=AQ\.)|(?<=hvs\.)|(?<=SG\.)|(?<=[0-9a-f]{{32}}\.))"
).search
_QUERY = re.compile(
    r"=(?i:(?<=[?&]key=)|(?<=[?&]sig=)|(?<=[?&]token=)|(?<=[?&]secret=)|(?<=[?&]password=)"
    r"|(?<=signature=))"
).search
"""What every text with a secret has in it, or one of a few words: looked for by a single character
first, which is what makes it quick."""

_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)\Z", re.IGNORECASE)
_SHORTEST = 12
"""Shorter values than this would mask ordinary words."""


class Redaction:
    """Masks secrets in texts; those that stand in the `environment` are known.

    >>> Redaction({}).masked("x-api-key: 0123456789abcdef0123456789abcdef")
    'x-api-key: [redacted]'
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.environment = environment
        self._learn()

    def _learn(self) -> None:
        """Look which secrets the environment holds now."""
        self.variables = len(self.environment)
        values = {value for name, value in self.environment.items() if _NAME.search(name)}
        long = (value for value in values if len(value) >= _SHORTEST)
        found = sorted(long, key=len, reverse=True)
        self.plain = [value for value in found if _PLAIN(value)]
        odd = [escapable(value) for value in found if not _PLAIN(value)]
        self.odd = re.compile("|".join(odd)) if odd else None

    def suspects(self, text: str) -> bool:
        """Whether a secret may stand in this JSON text: quick, and sometimes wrong."""
        if len(self.environment) != self.variables:  # a file such as .env was loaded since
            self._learn()
        return (
            "earer " in text
            or "asic " in text
            or "ookie" in text
            or "uthorization" in text
            or "dapi" in text
            or _KEY(text) is not None
            or _TOKEN(text) is not None
            or _CAPITAL(text) is not None
            or _DASH(text) is not None
            or _LOW(text) is not None
            or _DOT(text) is not None
            or ("://" in text and "@" in text)
            or _QUERY(text) is not None
            or (bool(self.plain) and any(map(text.__contains__, self.plain)))
            or (self.odd is not None and self.odd.search(text) is not None)
        )

    def masked(self, text: str) -> str:
        """`text` with every secret in it replaced."""
        if self.odd:
            text = self.odd.sub(MASK, text)
        for secret in self.plain:
            text = text.replace(secret, MASK)
        return _AT_PLACES.sub(_place, _SHAPE.sub(MASK, text))

    def clean(self, data: Any) -> Any:
        """The same plain data with every secret in its texts replaced."""
        if isinstance(data, str):
            return self.masked(data)
        if isinstance(data, list):
            return [self.clean(item) for item in data]
        if isinstance(data, dict):
            return {self.masked(key): self._held(key, item) for key, item in data.items()}
        return data

    def _held(self, key: str, item: Any) -> Any:
        """What a key holds may be a secret by the name of the key."""
        if not isinstance(item, str):
            return self.clean(item)
        item, place = self.masked(item), f"{key}: "
        said = _AT_PLACES.sub(_place, place + item)
        return said.removeprefix(place) if said.startswith(place) else item


def _place(found: re.Match[str]) -> str:
    return f"{found[1] or found[2] or found[3] or found[4]}{MASK}"


# -------------------------------------------------------------------------------- escaped texts

_PLAIN = re.compile(r"[A-Za-z0-9 !#$%()*+,\-.:;=?@\[\]^_`{|}~]*").fullmatch
"""What no JSON and no Python writes in another way."""

_SHORT = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}


def escapable(text: str) -> str:
    r"""The expression of `text`, simply or as JSON and Python escape it, at any depth.

    >>> bool(re.fullmatch(escapable('Zoë "Z"'), r'Zo\\u00eb \\\"Z\\\"'))
    True
    """
    pieces = re.findall(r"(\\*)([^\\]?)", text, re.DOTALL)
    return "".join(_behind(char) if slashes else _either(char) for slashes, char in pieces)


_SLASHES = r"(?<!\\)\\++"
"""A run of backslashes is read once and as a whole: so no text of them takes long."""


def _behind(char: str) -> str:
    """A backslash, or several, and this after it."""
    return f"{_SLASHES}(?:{'|'.join((re.escape(char), *_escapes(char)))})"


def _either(char: str) -> str:
    if _PLAIN(char):
        return re.escape(char)
    simply = rf"(?<!\\)\\*+{char}" if char in "\"'/" else re.escape(char)
    return f"(?:{simply}|{_SLASHES}(?:{'|'.join(_escapes(char))}))"


def _escapes(char: str) -> Iterator[str]:
    """What may stand for it behind a backslash."""
    if _PLAIN(char):
        return
    units = char.encode("utf-16-be", "surrogatepass").hex()
    yield _SLASHES.join(f"u(?i:{units[i : i + 4]})" for i in range(0, len(units), 4))
    if char in _SHORT:
        yield _SHORT[char]
    if ord(char) > 0xFFFF:
        yield f"U(?i:{ord(char):08x})"
    if ord(char) < 256:
        yield f"x(?i:{ord(char):02x})"
