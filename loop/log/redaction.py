"""Redaction: keys of providers and other secrets never reach the file.

What looks like a key by its well-known prefix is masked, and so is every value of an environment
variable whose name says that it is a secret. This is a net, not a proof: a secret of unknown shape
that a tool returns is not recognised.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

MASK = "[redacted]"

_SHAPES = {
    "sk-": r"sk-[A-Za-z0-9_\-]{16,}",
    "earer ": r"[Bb]earer +[A-Za-z0-9_\-.=]{12,}",
    "gsk_": r"gsk_[A-Za-z0-9]{16,}",
    "AIza": r"AIza[A-Za-z0-9_\-]{30,}",
    "AKIA": r"AKIA[A-Z0-9]{16}",
    "hf_": r"hf_[A-Za-z0-9]{20,}",
    "xai-": r"xai-[A-Za-z0-9]{20,}",
    "ghp_": r"ghp_[A-Za-z0-9]{30,}",
    "gho_": r"gho_[A-Za-z0-9]{30,}",
    "ghu_": r"ghu_[A-Za-z0-9]{30,}",
    "ghs_": r"ghs_[A-Za-z0-9]{30,}",
    "ghr_": r"ghr_[A-Za-z0-9]{30,}",
    "github_pat_": r"github_pat_[A-Za-z0-9_]{30,}",
    "xox": r"xox[abprs]-[A-Za-z0-9\-]{10,}",
    "-----BEGIN": r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
}
_SHAPE = re.compile(rf"(?<![A-Za-z0-9_\-])(?:{'|'.join(_SHAPES.values())})", re.DOTALL)
"""Only at the start of a word: the middle of a provider's signature may look like anything."""

_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)\Z", re.IGNORECASE)
_SHORTEST = 12
"""Shorter values than this would mask ordinary words."""


class Redaction:
    """Masks secrets in texts; `secrets` are the values that are known."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.secrets = sorted(
            {
                value
                for name, value in environment.items()
                if _NAME.search(name) and len(value) >= _SHORTEST
            },
            key=len,
            reverse=True,
        )
        self.written = [json.dumps(secret, ensure_ascii=False)[1:-1] for secret in self.secrets]

    def suspects(self, text: str) -> bool:
        """Whether a secret may stand in this JSON text: quick, and sometimes wrong."""
        return any(map(text.__contains__, _SHAPES)) or any(map(text.__contains__, self.written))

    def masked(self, text: str) -> str:
        """`text` with every secret in it replaced."""
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return _SHAPE.sub(MASK, text)

    def clean(self, data: Any) -> Any:
        """The same plain data with every secret in its texts replaced."""
        if isinstance(data, str):
            return self.masked(data)
        if isinstance(data, list):
            return [self.clean(item) for item in data]
        if isinstance(data, dict):
            return {self.masked(key): self.clean(item) for key, item in data.items()}
        return data
