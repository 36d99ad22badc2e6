"""Dicts that nobody writes into: what policies, checks and tools are shown of a run."""

from collections.abc import Mapping
from typing import Any, NoReturn


class Fixed(dict[str, Any]):
    """A dict to look at only; in all else one like any, for JSON, copies and other processes.

    >>> Fixed({"a": 1}) | {"b": 2}
    {'a': 1, 'b': 2}
    """

    __slots__ = ()

    def __reduce__(self) -> Any:
        return Fixed, (dict(self),)


def _refused(self: Any, *given: Any, **named: Any) -> NoReturn:
    raise TypeError("a run is to be looked at only: change a copy, made with dict(...)")


_WRITING = "__setitem__ __delitem__ __ior__ update pop popitem clear setdefault"

for _name in _WRITING.split():
    setattr(Fixed, _name, _refused)


def fixed(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same to look at only; what is no plain dict stays as it is."""
    return Fixed(mapping) if type(mapping) is dict else mapping
