"""Redaction: keys of providers and other secrets never reach the file.

What looks like a key by its well-known prefix is masked, and so is what stands where a secret
belongs (a header such as ``Authorization`` or ``x-api-key``, a cookie, the password of a URL), and
every value of an environment variable whose name says that it is a secret. This is a net, not a
proof: a secret of unknown shape that a tool returns is not recognised.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

MASK = "[redacted]"

_BODY = r"[A-Za-z0-9_\-]"
_KEYS = (
    # Anthropic, OpenAI, DeepSeek, OpenRouter, Cerebras; words such as sk-nested-list-item are none
    rf"c?sk-(?=[a-z_\-]*(?:[A-Z0-9]|[a-z]{{20}})){_BODY}{{16,}}",
    rf"(?:xai|pplx|nvapi|tvly|xapp|GOCSPX)-{_BODY}{{16,}}",  # xAI, Perplexity, NVIDIA, Slack, …
    rf"gl[a-z]{{2,6}}-{_BODY}{{20,}}",  # GitLab
    r"xox[a-z]-[A-Za-z0-9\-]{10,}",  # Slack
    r"(?:gsk|hf|fw|r8|npm|api_org|gh[pousr])_[A-Za-z0-9]{16,}",  # Groq, Hugging Face, GitHub, …
    r"github_pat_[A-Za-z0-9_]{30,}",
    r"(?:[srp]k_(?:live|test)|whsec|tgp_v1|sk)_(?=[A-Za-z_\-]*[0-9])[A-Za-z0-9_\-]{16,}",  # Stripe
    r"AIza[A-Za-z0-9_\-]{30,}",  # Google
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
_SHAPE = re.compile(rf"(?<![A-Za-z0-9_\-])(?:{'|'.join(_KEYS)})")
"""Only at the start of a word: the middle of a provider's signature may look like anything."""

_IS = r"""\\*["']?(?:\s*[:=]\s*|,\s*(?=b?\\*["']))(?:b?\\*["'])?"""
"""Between the name and the value, in a header, an assignment, JSON, or a pair of Python's."""

_AT_PLACES = re.compile(
    r"((?i:api[_\-]?key|subscription-key|access[_\-]key|client_secret|(?:access|refresh|auth|session"
    rf"|security|private)[_\-]token|authorization){_IS}(?:[A-Za-z][\w\-]* +)?)"
    r"(?=[A-Za-z_\-.~+/=]{0,60}[0-9])(?!\[redacted)[A-Za-z0-9_\-.~+/=]{16,}+(?![(\[])"
    rf"|((?i:cookie){_IS})[^\s=;,\"']+=[^\s;\"'][^\r\n\"']*"
    r"|(://[^\s/:@\"']{0,100}:)(?!\[redacted)[^\s/@\"'`{}<>]+(?=@)"
)
"""What stands where a secret belongs; the place itself stays. A value without any digit is a word,
and what is called or indexed is code."""

_HINTS = ("eyJ", "earer ", "asic ", "ookie", "uthorization", "JQQJ99", "pikey", "piKey")
_DASH = re.compile(
    rf"-(?:(?={_BODY}{{10}})(?:(?<=sk-)|(?<=xai-)|(?<=plx-)|(?<=api-)|(?<=vly-)|(?<=app-)|(?<=SPX-)"
    r"|(?<=xox[a-z]-)|(?<=gl[a-z]{2}-)|(?<=gl[a-z]{3}-)|(?<=gl[a-z]{4}-)|(?<=gl[a-z]{5}-)"
    r"|(?<=gl[a-z]{6}-))|----BEGIN|(?i:key|token)(?![A-Za-z]))"
).search
_LOW = re.compile(
    rf"_(?:(?={_BODY}{{16}})(?:(?<=[gs]k_)|(?<=hf_)|(?<=fw_)|(?<=r8_)|(?<=npm_)|(?<=org_)|(?<=pat_)"
    r"|(?<=gh[pousr]_)|(?<=live_)|(?<=test_)|(?<=sec_)|(?<=v1_))|(?i:key|token|secret)(?![A-Za-z]))"
).search
_CAPITAL = re.compile(r"A(?:Iza|KIA|SIA|BSK)").search
"""What every text with a secret has in it: looked for by a single character first, which is what
makes it quick."""

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
        self.secrets = sorted(long, key=len, reverse=True)
        self.written = list({form for secret in self.secrets for form in _written(secret)})

    def suspects(self, text: str) -> bool:
        """Whether a secret may stand in this JSON text: quick, and sometimes wrong."""
        if len(self.environment) != self.variables:  # a file such as .env was loaded since
            self._learn()
        return (
            any(map(text.__contains__, _HINTS))
            or _CAPITAL(text) is not None
            or _DASH(text) is not None
            or _LOW(text) is not None
            or ("@" in text and "://" in text)
            or any(map(text.__contains__, self.written))
        )

    def masked(self, text: str) -> str:
        """`text` with every secret in it replaced."""
        for secret in self.secrets:
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
    return f"{found[1] or found[2] or found[3]}{MASK}"


def _written(secret: str) -> set[str]:
    """How a text stands in the JSON of an event: simply, or where JSON alone cannot hold it."""
    simply = json.dumps(secret, ensure_ascii=False)[1:-1]
    return {simply, json.dumps(json.dumps(secret)[1:-1])[1:-1]}
