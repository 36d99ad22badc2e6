"""`http`: a tool that fetches from the hosts that you name, and from no private address."""

import asyncio
import re
import socket
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from ipaddress import ip_address, ip_network
from typing import Any

from attrs import evolve, field, frozen

from loopwright.errors import BadInput
from loopwright.tools.address import Network, refusal
from loopwright.tools.tool import Tool, at_least, positive, texts, tool

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host and port."""

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_PLAIN = re.compile(r"[^\x00-\x20\x7f\\]{1,8000}")
"""A URL as every parser reads it: no blank, control character or backslash. 8,000 characters are
what RFC 9110 asks servers to take."""

_HOST = re.compile(r"[^/@?#\\\s]+")
"""A host and maybe a port, and nothing more of a URL."""

_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
"""A last label that makes a host an IPv4 address in the eyes of some resolvers."""

_WORDS = re.compile(r"text/|\Z|.*[/+](json|xml|yaml|javascript|x-ndjson|x-www-form-urlencoded)\b")
"""The media types that are shown as text."""


@frozen
class Response:
    """What came back: of which `url`, after all redirects."""

    status: int
    url: str
    content_type: str
    body: str


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system knows them."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ConnectionError(f"no address is known of {host}") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def http(
    hosts: Sequence[str],
    *,
    methods: Sequence[str] = ("GET",),
    headers: Mapping[str, str] | None = None,
    networks: Sequence[str] = (),
    largest: int = 1_000_000,
    timeout: float = 30.0,
    redirects: int = 5,
    name: str = "http",
    resolve: Resolve = resolved,
) -> Tool:
    """A tool that fetches URLs of `hosts` by `methods`.

    A host is a name, ``"*.example.com"`` for all below it, or ``"*"`` for any; another port than
    that of the scheme stands behind a colon. `headers`, such as a key, go to the one host that is
    named then; the model does not see them. `networks` are the private ones that may be reached,
    such as ``"127.0.0.0/8"``; without that only public addresses are, and where clouds hand out
    credentials never. An address is resolved once, checked, and is the one that is connected to;
    the same at each of at most `redirects` redirects (5 lead anywhere, curl allows 50), where
    `headers` stay behind as soon as scheme, host or port change. No proxy, cookie or ``.netrc`` is
    used. `largest` bounds the body in bytes, packed and unpacked (a megabyte is twenty times what
    a model is shown), `timeout` the whole in seconds. `resolve` gives the addresses of a host,
    whose name it is given in ASCII (``xn--…``).

    The effect class is ``"read"`` for GET and HEAD, else ``"unsafe"``. Raises `BadInput` for hosts,
    methods, networks or numbers that cannot work.

    >>> tool = http(["api.example.com", "*.example.org"])
    >>> tool.effect, list(tool.spec.schema["properties"])
    ('read', ['url'])
    """
    at_least(1, "largest", largest)
    at_least(0, "redirects", redirects)
    positive("timeout", timeout)
    client = _Client(
        _hosts(hosts, bool(headers)),
        _methods(methods),
        texts("headers", headers),
        _networks(networks),
        largest,
        timeout,
        redirects,
        resolve,
    )
    reads = {*client.methods} <= {"GET", "HEAD"}
    only = {"method": client.methods[0]} if len(client.methods) == 1 else {}
    bound: dict[str, str] = {**only, **({"body": "", "content_type": ""} if reads else {})}
    said = f"Fetch a URL by {' or '.join(client.methods)}. Hosts: {', '.join(client.hosts)}."
    return tool(
        partial(client.fetch, **bound),
        effect="read" if reads else "unsafe",
        name=name,
        description=said,
        timeout=timeout + 1,  # the tool's own limit comes first, and says what it is
        labels=("outside", "sends"),  # a URL, too, carries out what stands in it
    )


@frozen
class _Request:
    method: str
    url: Any
    headers: Mapping[str, str]
    body: str = ""


@frozen
class _Client:
    hosts: tuple[str, ...]
    methods: tuple[str, ...]
    headers: Mapping[str, str] = field(repr=False)  # may hold secrets
    networks: tuple[Network, ...]
    largest: int
    timeout: float
    redirects: int
    resolve: Resolve

    async def fetch(
        self, url: str, method: str = "GET", body: str = "", content_type: str = "application/json"
    ) -> Response:
        """Fetch a URL.

        Args:
            url: an absolute URL of http or https
            method: the HTTP method
            body: what is sent with it
            content_type: the media type of the body
        """
        if method not in self.methods:
            raise PermissionError(f"{method} is not allowed; allowed: {', '.join(self.methods)}")
        typed = {"Content-Type": content_type} if body else {}
        first = _Request(method, self._target(url), {**self.headers, **typed}, body)
        try:
            async with asyncio.timeout(self.timeout):
                return await self._followed(first)
        except TimeoutError:
            raise TimeoutError(f"there was no whole answer within {self.timeout:g} s") from None

    async def _followed(self, request: _Request) -> Response:
        for _ in range(self.redirects + 1):
            response, location = await self._sent(request)
            if response.status not in _REDIRECTS or not location:
                return response
            request = self._next(request, response.status, location)
        raise PermissionError(f"there were more than {self.redirects} redirects")

    def _next(self, request: _Request, status: int, location: str) -> _Request:
        """As browsers do it: what was no GET becomes one, unless the status forbids that."""
        url = self._target(str(request.url.join(_plain(location))))
        if request.url.scheme == "https" and url.scheme == "http":
            raise PermissionError("it redirects from https to http")
        if _origin(url) != _origin(request.url):
            typed = {k: v for k, v in request.headers.items() if k == "Content-Type"}
            request = evolve(request, headers=typed)
        if status in (307, 308) or request.method == "HEAD":
            return evolve(request, url=url)
        kept = {k: v for k, v in request.headers.items() if k != "Content-Type"}
        return _Request("GET", url, kept)

    def _target(self, text: str) -> Any:
        """The URL, parsed once and by one parser, if it is one that may be fetched."""
        import httpx

        try:
            url = httpx.URL(_plain(text))
        except httpx.InvalidURL as error:
            raise ValueError(f"the URL cannot be read: {error}") from None
        if url.scheme not in _PORTS or url.userinfo or not url.raw_host:
            raise PermissionError("only a URL of http or https without a user name can be fetched")
        host = _ascii(url)
        if _NUMBER.match(host.rpartition(".")[2]) and not _is_address(host):
            raise PermissionError(f"{host} is no host name, and no address in its usual form")
        url = url.copy_with(host=host, fragment=None)
        if not any(_fits(url, pattern) for pattern in self.hosts):
            raise PermissionError(f"{host} is not allowed; allowed are: {', '.join(self.hosts)}")
        return url

    async def _sent(self, request: _Request) -> tuple[Response, str]:
        """What came back, and where it leads, of the first address that can be connected to."""
        import httpx

        failure: Exception = ConnectionError(f"no address is known of {_ascii(request.url)}")
        for address in await self._addresses(request.url):
            try:
                return await self._sent_to(address, request)
            except httpx.ConnectError as error:
                failure = error
        raise ConnectionError(f"{_ascii(request.url)} cannot be reached: {failure}")

    async def _addresses(self, url: Any) -> Sequence[str]:
        host = _ascii(url)
        found = await self.resolve(host, url.port or _PORTS[url.scheme])
        for address in found:
            if why := refusal(address, self.networks):
                raise PermissionError(f"{host} is not connected to: {why}")
        return found

    async def _sent_to(self, address: str, request: _Request) -> tuple[Response, str]:
        """Connect to the address that was checked; the host is named in Host and in TLS."""
        import httpx

        headers = {
            "User-Agent": "loopwright",
            "Accept-Encoding": "gzip, deflate",
            **request.headers,
            "Host": request.url.netloc.decode("ascii"),
        }
        transport = httpx.AsyncHTTPTransport(verify=_certificates(), trust_env=False)
        async with (
            httpx.AsyncClient(transport=transport, trust_env=False, timeout=self.timeout) as client,
            client.stream(
                request.method,
                request.url.copy_with(host=address),
                headers=headers,
                content=request.body.encode() if request.body else None,
                extensions={"sni_hostname": _ascii(request.url)},
            ) as response,
        ):
            read = await _read(response, self.largest)
            return _shown(response, request.url, read), response.headers.get("location", "")


# --------------------------------------------------------------------------------- what came back


async def _read(response: Any, largest: int) -> bytes:
    """The body, unpacked while it comes, so that a small one cannot grow into a large one."""
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip", "x-gzip", "deflate"):
        raise ValueError(f"the answer is packed as {packing[:50]}, which was not asked for")
    unpack = _plainly if packing == "identity" else _Unpacking().piece
    packed, read = 0, b""
    async for chunk in response.aiter_raw():
        packed += len(chunk)
        while chunk and len(read) <= largest:
            piece, chunk = unpack(chunk, largest + 1 - len(read))
            read += piece
        if max(packed, len(read)) > largest:
            raise ValueError(f"the answer is larger than {largest} bytes")
    return read


def _plainly(chunk: bytes, most: int) -> tuple[bytes, bytes]:
    return chunk[:most], chunk[most:]


class _Unpacking:
    """Unpacks gzip, of one or several members, and zlib."""

    def __init__(self) -> None:
        self.member = self._new()

    def _new(self) -> Any:
        return zlib.decompressobj(wbits=47)  # either format, by its header

    def piece(self, chunk: bytes, most: int) -> tuple[bytes, bytes]:
        """At most so many bytes of `chunk` unpacked, and what is left of it."""
        try:
            out = self.member.decompress(chunk, most)
        except zlib.error:
            raise ValueError("the answer is packed in a way that cannot be read") from None
        if not self.member.eof:
            return out, self.member.unconsumed_tail
        left, self.member = self.member.unused_data, self._new()
        return out, left


def _shown(response: Any, url: Any, read: bytes) -> Response:
    kind = response.headers.get("content-type", "")
    if not _WORDS.match(kind.lower()):
        return Response(response.status_code, str(url), kind, f"[{len(read)} bytes of {kind}]")
    try:
        body = read.decode(response.charset_encoding or "utf-8", errors="replace")
    except LookupError:  # a charset that nobody knows
        body = read.decode(errors="replace")
    return Response(response.status_code, str(url), kind, body)


# --------------------------------------------------------------------------------- small pieces


@cache
def _certificates() -> Any:
    """Made once, since it takes 20 ms; SSL_CERT_FILE is not heeded."""
    import httpx

    return httpx.create_ssl_context(trust_env=False)


def _plain(text: str) -> str:
    if not _PLAIN.fullmatch(text):
        raise PermissionError("a URL has no blanks, control characters or backslashes")
    return text


def _origin(url: Any) -> tuple[str, str, int | None]:
    return url.scheme, _ascii(url), url.port


def _ascii(url: Any) -> str:
    """The host as DNS knows it. Python's own codec takes some names, such as faß.de, for others."""
    return str(url.raw_host.decode("ascii").rstrip(".").lower())


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


def _fits(url: Any, pattern: str) -> bool:
    name = url.netloc.decode("ascii")
    if pattern.startswith("*."):
        return bool(name.endswith(pattern[1:]))
    return name == pattern or (pattern == "*" and url.port is None)


def _hosts(hosts: Any, secret: bool) -> tuple[str, ...]:
    listed = isinstance(hosts, Sequence) and not isinstance(hosts, str) and hosts
    if not listed or not all(isinstance(h, str) and _HOST.fullmatch(h) for h in hosts):
        raise BadInput(f"hosts={hosts!r}: give a list of names, such as ['api.example.com']")
    if secret and (len(hosts) > 1 or "*" in hosts[0]):
        raise BadInput("headers may hold a secret: make a tool of its own for the one host")
    return tuple(map(_pattern, hosts))


def _pattern(host: str) -> str:
    """The pattern in the form that hosts of URLs have."""
    import httpx

    below = "*." if host.startswith("*.") else ""
    try:
        url = httpx.URL(f"//{host.removeprefix('*.')}")
        return below + url.copy_with(host=_ascii(url)).netloc.decode("ascii")
    except httpx.InvalidURL as error:
        raise BadInput(f"hosts: {host!r} is no name of a host: {error}") from None


def _methods(methods: Any) -> tuple[str, ...]:
    if isinstance(methods, str) or not methods or not {*methods} <= {*METHODS}:
        raise BadInput(f"methods={methods!r}: give a list of {', '.join(METHODS)}")
    return tuple(methods)


def _networks(networks: Sequence[str]) -> tuple[Network, ...]:
    try:
        return tuple(map(ip_network, networks))
    except ValueError as error:
        raise BadInput(f"networks: {error}; write '127.0.0.0/8', for example") from None
