"""The clients of the SDKs: one for each event loop, where they lead, what they must not tell."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from loopwright.errors import BadInput
from loopwright.models import failures
from loopwright.models.switch import loopback


class Clients:
    """One client of an SDK for each event loop: one that two loops use breaks.

    A client is closed when its event loop shuts down its asynchronous generators, which
    `asyncio.run` does at its end. `kind` is the name of the class of clients. Raises `BadInput` for
    a `given` client that is of another one.
    """

    def __init__(self, kind: str, make: Callable[[], Any], given: Any = None) -> None:
        self._make = make
        self._given = given if given is None else _fitting(given, kind)
        self._spares: list[Any] = []
        self._open: WeakKeyDictionary[Any, tuple[Any, AsyncGenerator[Any, None]]]
        self._open = WeakKeyDictionary()

    def first(self) -> Any:
        """A client that has not been used yet, to look at."""
        if self._given is not None:
            return self._given
        if not self._spares:
            self._spares.append(self._made())
        return self._spares[-1]

    async def current(self) -> Any:
        """The client of the running event loop."""
        if self._given is not None:
            return self._given
        loop = asyncio.get_running_loop()
        if loop not in self._open:
            client = self._unused()
            _check_apart(client, [other for other, _ in list(self._open.values())])
            held = self._held(loop, client)
            await anext(held)
            self._open[loop] = client, held
        return self._open[loop][0]

    def _unused(self) -> Any:
        try:
            return self._spares.pop()
        except IndexError:
            return self._made()

    def _made(self) -> Any:
        return _usable(self._make())

    async def _held(self, loop: Any, client: Any) -> AsyncGenerator[Any, None]:
        try:
            yield client
        finally:
            self._open.pop(loop, None)
            await client.close()

    async def close(self) -> None:
        """Close the client of the running event loop, if it has one; a given one stays open."""
        _, held = self._open.get(asyncio.get_running_loop(), (None, None))
        if held is not None:
            await held.aclose()


def _fitting(client: Any, kind: str) -> Any:
    """A synchronous client would send the request, and its answer would be lost; those of other
    clouds rewrite a request that they see before it is written."""
    if kind in {one.__name__ for one in type(client).__mro__}:
        return client
    raise BadInput(f"{type(client).__name__} is not the client that speaks here: give an {kind}")


_ONE_LOOP = (
    "it serves one event loop: await all runs in one, or leave it out, and each event loop has a "
    "client of its own"
)


def _check_apart(client: Any, others: Iterable[Any]) -> None:
    """Raises `BadInput` if one of `others`, of other event loops, has the same HTTP client."""
    http = getattr(client, "_client", None)
    if http is not None and any(getattr(other, "_client", None) is http for other in others):
        raise BadInput(f"the http_client= is used in another event loop, and {_ONE_LOOP}")


_HEADER = re.compile(r"[!-~](?:[ -~]*[!-~])?")
"""What may stand in a header: visible ASCII, as the transport wants it."""


def _usable(client: Any) -> Any:
    """Raises `BadInput` for what can never be sent, before anything is spent."""
    if client.is_closed():
        raise BadInput(f"the http_client= is closed, as {_ONE_LOOP}")
    url = client.base_url
    if url.scheme not in ("http", "https") or not url.host:
        said = failures.masked(str(url))
        raise BadInput(f"the base_url {said!r} is no address: it begins with http:// or https://")
    for secret in keys(client):
        if secret and not _HEADER.fullmatch(secret):
            raise BadInput(
                f"the key for {url.host} cannot be sent: it has a line end, a blank at an end, or "
                "characters that are not ASCII; take them out"
            )
    return client


def keys(client: Any) -> list[str]:
    """The keys of a client: no failure may repeat them, nor pieces of them."""
    held = [getattr(client, name, None) for name in ("api_key", "auth_token")]
    return [key for key in held if isinstance(key, str)]


# ----------------------------------------------------------------------------------- making them


def made(sdk: Any, kind: str, name: str, options: Mapping[str, Any], variable: str = "") -> Any:
    """A client of the class `kind` of an `sdk`, for the provider `name`.

    One that leads to this machine goes through no proxy. `variable` is the environment's word on
    where it leads. Raises `BadInput` if it cannot be made.
    """
    place = options.get("base_url") or os.environ.get(variable)
    near = bool(place) and loopback(address(place, variable).host)
    try:
        http = options.get("http_client") or _http(sdk, near)
        return getattr(sdk, kind)(**{**options, "http_client": http})
    except Exception as error:
        # Its cause may hold a piece of a password.
        raise BadInput(f"the client for {name} cannot be made: {_why(error)}") from None


def address(url: Any, variable: str = "") -> Any:
    """`url` in its parts. Raises `BadInput`, which does not repeat it, if it has none."""
    import httpx2

    try:
        return httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError):
        where = f"base_url= or the variable {variable}" if variable else "base_url="
        said = "the base_url is no address such as https://example.com:8000/v1"
        raise BadInput(f"{said}: correct {where}") from None


def _http(sdk: Any, near: bool) -> Any:
    """An HTTP client as the SDK makes it; a `near` one passes over the environment's proxies."""
    import httpx2

    if not near:
        return sdk.DefaultAsyncHttpxClient()
    transport = httpx2.AsyncHTTPTransport(limits=sdk.DEFAULT_CONNECTION_LIMITS)
    return sdk.DefaultAsyncHttpxClient(transport=transport)


_PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY")
_TRUSTED = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def _why(error: Exception) -> str:
    """What went wrong, and the names of the variables that it may come from."""
    odd = type(error).__name__ == "InvalidURL"  # its text is a piece of the address
    said = "an address cannot be read" if odd else failures.masked(str(error))
    blamed = _TRUSTED if isinstance(error, OSError) else _PROXIES
    about = odd or isinstance(error, OSError) or "proxy" in said.lower()
    names = [name for name in os.environ if name.upper() in blamed and os.environ[name]]
    return f"{said}: correct or unset {' and '.join(names)}" if about and names else said


# ------------------------------------------------------------------------------- asking with them


def contacted(client: Any) -> list[str]:
    """The hosts that a client speaks to: the one that it asks, and the proxy on the way there.

    Neither the SDKs nor the transport have a public word on the latter.
    """
    http, hosts = getattr(client, "_client", None), [str(client.base_url.host)]
    route = getattr(http, "_transport_for_url", lambda _: None)(client.base_url)
    proxy = getattr(getattr(route, "_pool", None), "_proxy_url", None)
    return hosts if proxy is None else [*hosts, proxy.host.decode()]


_PUBLIC = re.compile(r"(?:accept|agent|beta|referer|title|type|version)\Z", re.IGNORECASE)
"""How the names of headers and parameters end whose values help to understand a failure."""

_SHORTEST = 12
"""Shorter values of headers would mask ordinary words."""


def secrets(client: Any) -> list[str]:
    """What else no failure may repeat: what the headers and the query of a client hold."""
    given = [getattr(client, name, {}) for name in ("_custom_headers", "_custom_query")]
    held = [value for one in given for name, value in one.items() if not _PUBLIC.search(name)]
    words = [word for value in held if isinstance(value, str) for word in value.split()]
    return [word for word in words if len(word) >= _SHORTEST]
