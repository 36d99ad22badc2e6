"""What stands behind the port: providers, and what they cost.

`Anthropic` and `OpenAI` speak to the real APIs through the vendors' SDKs, and `Chat` to any server
of Chat Completions, of which `SERVERS` names a few. `Scripted` says what it is told, and
`Rehearsal` is a server on this machine that speaks their wires. An SDK is loaded when its provider
makes its first client, never on import.
"""

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from loopwright.errors import BadInput

# Imported here so that the submodule, named like the function, cannot take its place later.
from loopwright.models.provider import Provider
from loopwright.models.servers import SERVERS, Quirks
from loopwright.models.switch import allow_real_calls, forbid_real_calls

if TYPE_CHECKING:
    from loopwright.models.anthropic import Anthropic
    from loopwright.models.catalogue import set_price
    from loopwright.models.chat import Chat
    from loopwright.models.openai import OpenAI
    from loopwright.models.rehearsal import Rehearsal
    from loopwright.models.scripted import Scripted

__all__ = [
    "SERVERS",
    "Anthropic",
    "Chat",
    "OpenAI",
    "Provider",
    "Quirks",
    "Rehearsal",
    "Scripted",
    "allow_real_calls",
    "forbid_real_calls",
    "provider",
    "resolve",
    "set_price",
]

_HOMES = {
    "Anthropic": "anthropic",
    "Chat": "chat",
    "OpenAI": "openai",
    "Rehearsal": "rehearsal",
    "Scripted": "scripted",
    "set_price": "catalogue",
}

_VENDORS = {"anthropic": "Anthropic", "openai": "OpenAI"}
_KNOWN = (*_VENDORS, *SERVERS)


def provider(name: str) -> Provider:
    """A provider by the name that stands before the colon in ``"provider:model"``.

    Raises `BadInput` for a name that is not known, and says which ones are.

    >>> provider("anthropic").name, provider("ollama").name
    ('anthropic', 'ollama')
    """
    if name not in _KNOWN:
        raise BadInput(f"there is no provider {name!r}.{_near(name)} {_others()}")
    kind = __getattr__(_VENDORS.get(name, "Chat"))
    found: Provider = kind(name) if name in SERVERS else kind()
    return found


def resolve(model: str) -> tuple[str, str]:
    """The provider's name and the model's name of ``"provider:model"``.

    Raises `BadInput` if it is not of that form.

    >>> resolve("openai:gpt-6-sol")
    ('openai', 'gpt-6-sol')
    """
    name, colon, rest = model.partition(":")
    if name and colon and rest:
        return name, rest
    raise BadInput(f"{model!r} names no model: write 'provider:model', such as {_example(model)!r}")


def _near(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), _KNOWN, 1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _others() -> str:
    return (
        f"Known are {', '.join(map(repr, _KNOWN))}; give any other, such as a Chat with a base_url "
        "or a Scripted, to the loop as an object"
    )


def _example(model: str) -> str:
    bare = model.strip(":")
    if bare.startswith(("gpt", "o1", "o3", "o4")):
        return f"openai:{bare}"
    return f"anthropic:{bare if bare.startswith('claude') else 'claude-haiku-4-5'}"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
