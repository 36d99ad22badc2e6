"""`http`: no way to an address that is not meant, and no answer that is too much."""

import asyncio
import gzip
import socket
import socketserver
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright import BadInput, Loop, Task
from loopwright.calls import ToolCall
from loopwright.models import Scripted
from loopwright.tools import Tool, http
from loopwright.tools.address import METADATA, refusal
from loopwright.tools.http import Response

LOOPBACK = ("127.0.0.0/8",)

# ------------------------------------------------------------------------------------ addresses

PRIVATE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.1.1",
    "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.168.1.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1",
    "100::1", "5f00::1", "2001:db8::1", "3fff::1", "2001::1", "2001:0:102:304::", "2002:7f00:1::",
    "2002:102:304::1", "64:ff9b:1::1", "::127.0.0.1", "::ffff:0:127.0.0.1", "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "2606:4700::5efe:7f00:1",
    "2606:4700::200:5efe:a00:1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.15.255.255",
    "172.32.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert refusal(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_not(address: str) -> None:
    assert refusal(address) == ""


@pytest.mark.parametrize("address", [*map(str, METADATA), "::ffff:169.254.169.254"])
def test_metadata_is_refused_whatever_is_allowed(address: str) -> None:
    everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    assert refusal(address, everything).endswith("hands out credentials")


@given(st.integers(0, 2**32 - 1))
def test_a_mapped_address_is_judged_like_the_one_within(number: int) -> None:
    within = refusal(str(IPv4Address(number)))
    for prefix in (0xFFFF << 32, 0x64_FF9B << 96):
        assert refusal(str(IPv6Address(prefix | number))) == within


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_nothing_outside_of_the_global_block_is_public(address: IPv6Address) -> None:
    if address not in ip_network("2000::/3"):
        assert refusal(str(address)) or address in ip_network("64:ff9b::/96") or address.ipv4_mapped


# ----------------------------------------------------------------------------------------- URLs


def resolving(*addresses: str) -> Callable[[str, int], Any]:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


def fetch(tool: Tool, url: str, **arguments: str) -> Response:
    response = asyncio.run(tool(url, **arguments))
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://a.test/", "gopher://a.test/", "data:,x", "//a.test/", "a.test",
        "", "http://", "http:///x", "http://u@a.test/", "http://u:p@a.test/", "http://b.test/",
        "http://a.test@b.test/", "http://a.test\\@b.test/", "http://b.test#@a.test/",
        "http://b.test?@a.test/", "http://a.test\n.b.test/", "http://a.test .b.test/",
        "http://a.test:22/", "http://a.test.b.test/", "http://xa.test/", "http://a.test%00.b.test/",
        "http://[::1]/", "javascript:alert(1)", "http://a.test/\r\nX: y",
        f"http://a.test/{'x' * 9000}",
    ],
)  # fmt: skip
def test_only_a_plain_url_of_an_allowed_host_is_fetched(url: str) -> None:
    tool = http(["a.test"], resolve=resolving("127.0.0.1"))
    with pytest.raises((PermissionError, ValueError), match=r"URL|allowed are: a.test"):
        fetch(tool, url)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "017700000001", "127.0.0.1",
        "127.0.0.1.", "0", "0x0", "[::1]", "[::ffff:127.0.0.1]", "[::]", "localhost", "LOCALHOST.",
        "10.0.0.1", "169.254.169.254", "1.1.1.1.1", "[fe80::1]",
    ],
)  # fmt: skip
def test_no_form_of_a_private_address_is_connected_to(host: str) -> None:
    """With the real resolver, which reads some of these as numbers."""
    with pytest.raises(
        (PermissionError, ValueError), match=r"not connected to|no host name|cannot"
    ):
        fetch(http(["*"]), f"http://{host}/")


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("a.test", "http://A.TEST./x"),
        ("A.test", "https://a.test:443/"),
        ("*.a.test", "http://b.a.test/"),
        ("a.test:8080", "http://a.test:8080/"),
        ("*.a.test:8080", "http://b.a.test:8080/"),
        ("*.faß.test:8080", "http://b.xn--fa-hia.test:8080/"),
        ("a.test:80", "https://a.test:80/"),
        ("[2606:4700::1111]", "http://[2606:4700::1111]/"),
        ("*", "http://anything.test/"),
    ],
)
def test_hosts_that_fit_are_allowed(pattern: str, url: str) -> None:
    """They come as far as the resolver."""
    with pytest.raises(PermissionError, match=r"is not connected to: 10.0.0.1 is not public"):
        fetch(http([pattern], resolve=resolving("10.0.0.1")), url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://faß.test/", "xn--fa-hia.test"),  # fass.test in the eyes of Python's own codec
        ("http://xn--fa-hia.test/", "xn--fa-hia.test"),
        ("http://MÜNCHEN.test./", "xn--mnchen-3ya.test"),
        ("http://βόλος.test/", "xn--nxasmm1c.test"),
    ],
)
def test_the_host_that_a_url_means_is_the_one_that_is_resolved(url: str, host: str) -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["10.0.0.1"]

    for pattern in (host, host.upper(), url.removeprefix("http://").rstrip("/"), "*.test", "*"):
        headers = {} if "*" in pattern else {"Authorization": "s"}
        with pytest.raises(PermissionError, match=f"{host} is not connected to"):
            fetch(http([pattern], headers=headers, resolve=resolve), url)
    assert set(asked) == {host}


@pytest.mark.parametrize(
    ("pattern", "url"),
    [("*.a.test", "http://a.test/"), ("*.a.test", "http://ba.test/"), ("*", "http://a.test:22/")],
)
def test_hosts_that_do_not_fit_are_not(pattern: str, url: str) -> None:
    with pytest.raises(PermissionError, match="is not allowed; allowed are"):
        fetch(http([pattern], resolve=resolving("10.0.0.1")), url)


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    tool = http(["a.test"], resolve=resolving("93.184.216.34", "127.0.0.1"))
    with pytest.raises(PermissionError, match=r"a.test is not connected to: 127.0.0.1"):
        fetch(tool, "http://a.test/")


# -------------------------------------------------------------------------------------- a server


class Server(ThreadingHTTPServer):
    """Answers as `answers` says by path, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Answering(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        status, headers, content = self.server.answers.get(self.path, (200, {}, b"hello"))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_HEAD = answer

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def serving() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def server(serving: Server) -> Server:
    serving.asked.clear()
    serving.answers.clear()
    return serving


def local(server: Server, *hosts: str, **options: Any) -> Tool:
    """A tool for hosts that all stand on the loopback, at the server's port."""
    named = [f"{host}:{server.port}" for host in hosts or ("a.test",)]
    options = {"networks": LOOPBACK, "resolve": resolving("127.0.0.1"), **options}
    return http(named, **options)


def url(server: Server, path: str = "/", host: str = "a.test") -> str:
    return f"http://{host}:{server.port}{path}"


def test_a_page_is_fetched_from_the_address_that_was_checked(server: Server) -> None:
    """The name exists nowhere else: who resolved it again would find nothing."""
    server.answers["/x?y=1"] = (200, {"Content-Type": "text/plain; charset=latin-1"}, b"gr\xfcn")
    response = fetch(local(server), url(server, "/x?y=1#part"))
    assert response == Response(200, url(server, "/x?y=1"), "text/plain; charset=latin-1", "grün")
    ((method, path, headers, body),) = server.asked
    assert (method, path, body) == ("GET", "/x?y=1", b"")
    assert headers["Host"] == f"a.test:{server.port}"


def test_the_name_is_resolved_once(server: Server) -> None:
    """A resolver that changes its answer after the check gains nothing."""
    said: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        said.append("127.0.0.1" if not said else "10.0.0.1")
        return said[-1:]

    assert fetch(local(server, resolve=rebinding), url(server)).body == "hello"
    assert said == ["127.0.0.1"]


def test_the_next_address_is_tried_when_one_does_not_answer(server: Server) -> None:
    tool = local(server, resolve=resolving("127.0.0.9", "127.0.0.1"))
    assert fetch(tool, url(server)).body == "hello"
    nowhere = local(server, resolve=resolving())
    with pytest.raises(ConnectionError, match=r"a.test cannot be reached: no address is known"):
        fetch(nowhere, url(server))


@pytest.mark.parametrize(("host", "named"), [("a.test", "a.test"), ("faß.test", "xn--fa-hia.test")])
def test_tls_names_the_host_and_not_the_address(host: str, named: str) -> None:
    heard: list[bytes] = []

    class Greeted(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            heard.append(self.request.recv(4096))

    with socketserver.TCPServer(("127.0.0.1", 0), Greeted) as listener:
        threading.Thread(target=listener.handle_request, daemon=True).start()
        port = listener.server_address[1]
        tool = http([f"{host}:{port}"], networks=LOOPBACK, resolve=resolving("127.0.0.1"))
        with pytest.raises(ConnectionError, match=f"{named} cannot be reached"):
            fetch(tool, f"https://{host}:{port}/")
    assert bytes([0, len(named)]) + named.encode() in heard[0]


def redirect(server: Server, to: str, status: int = 302, at: str = "/") -> None:
    server.answers[at] = (status, {"Location": to}, b"")


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("http://169.254.169.254/latest", "is not allowed"),
        ("http://127.0.0.1/", "is not allowed"),
        ("http://b.test/", "b.test is not allowed"),
        ("file:///etc/passwd", "only a URL of http"),
        ("//b.test/", "b.test is not allowed"),
        ("http://u:p@a.test/", "without a user name"),
        ("/x y", "no blanks"),
    ],
)
def test_each_redirect_is_checked_like_the_first_url(server: Server, to: str, said: str) -> None:
    redirect(server, to)
    with pytest.raises(PermissionError, match=said):
        fetch(local(server), url(server))
    assert len(server.asked) == 1


def test_a_redirect_to_a_private_address_is_refused_with_any_host(server: Server) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == "a.test" else ["10.0.0.1"]

    redirect(server, "http://b.test/")
    tool = http([f"a.test:{server.port}", "*"], networks=LOOPBACK, resolve=resolve)
    with pytest.raises(PermissionError, match=r"b.test is not connected to: 10.0.0.1"):
        fetch(tool, url(server))


def test_redirects_end(server: Server) -> None:
    redirect(server, "/")
    with pytest.raises(PermissionError, match="more than 3 redirects"):
        fetch(local(server, redirects=3), url(server))
    assert len(server.asked) == 4


def test_https_does_not_lead_to_http() -> None:
    client = http(["a.test"]).function.func.__self__  # type: ignore[attr-defined]
    from loopwright.tools.http import _Request

    first = _Request("GET", client._target("https://a.test/"), {})
    with pytest.raises(PermissionError, match="from https to http"):
        client._next(first, 302, "http://a.test/")


def test_headers_stay_with_their_origin(server: Server) -> None:
    redirect(server, "/second")
    fetch(local(server, headers={"Authorization": "Bearer s"}), url(server))
    assert [h.get("Authorization") for _, _, h, _ in server.asked] == ["Bearer s", "Bearer s"]
    client = local(server, headers={"Authorization": "s"}).function.func.__self__  # type: ignore[attr-defined]
    from loopwright.tools.http import _Request

    first = _Request("GET", client._target(url(server)), {"Authorization": "s"})
    other = client._target(url(server)).copy_with(scheme="https")
    assert client._next(first, 302, str(other)).headers == {}


@pytest.mark.parametrize(
    ("status", "methods"),
    [(302, ["POST", "GET"]), (307, ["POST", "POST"]), (308, ["POST", "POST"])],
)
def test_what_a_redirect_makes_of_a_post(server: Server, status: int, methods: list[str]) -> None:
    redirect(server, "/second", status)
    tool = local(server, methods=["POST"])
    fetch(tool, url(server), body="{}", content_type="application/json")
    assert [method for method, *_ in server.asked] == methods
    assert [body for *_, body in server.asked] == [b"{}", b"{}" if methods[1] == "POST" else b""]


def test_only_the_methods_that_are_allowed(server: Server) -> None:
    tool = local(server, methods=["GET", "HEAD"])
    assert fetch(tool, url(server), method="HEAD").body == ""
    with pytest.raises(PermissionError, match="POST is not allowed; allowed: GET, HEAD"):
        fetch(tool, url(server), method="POST")
    assert list(tool.spec.schema["properties"]) == ["url", "method"]
    assert [method for method, *_ in server.asked] == ["HEAD"]


def test_proxies_and_netrc_are_not_used(
    server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine a.test login u password p")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    fetch(local(server), url(server))
    assert "Authorization" not in server.asked[0][2]


# --------------------------------------------------------------------------------------- too much


def test_a_large_answer_is_refused(server: Server) -> None:
    server.answers["/"] = (200, {}, b"x" * 1001)
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        fetch(local(server, largest=1000), url(server))
    server.answers["/"] = (200, {}, b"x" * 1000)
    assert len(fetch(local(server, largest=1000), url(server)).body) == 1000


@pytest.mark.parametrize("packed", [gzip.compress, zlib.compress])
def test_a_small_answer_does_not_grow_large(
    server: Server, packed: Callable[[bytes], bytes]
) -> None:
    packing = {"Content-Encoding": "gzip" if packed is gzip.compress else "deflate"}
    server.answers["/"] = (200, packing, packed(b"x" * 50_000_000))
    with pytest.raises(ValueError, match="larger than 1000000 bytes"):
        fetch(local(server), url(server))
    server.answers["/"] = (200, packing, packed(b"hello"))
    assert fetch(local(server), url(server)).body == "hello"


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 400), st.integers(1, 50))
def test_members_of_gzip_are_put_together(pieces: list[bytes], most: int, size: int) -> None:
    from loopwright.tools.http import _read

    data, whole = b"".join(map(gzip.compress, pieces)), b"".join(pieces)

    class Packed:
        headers = {"content-encoding": "gzip"}  # noqa: RUF012

        async def aiter_raw(self) -> Any:
            for i in range(0, len(data), size):
                yield data[i : i + size]

    if max(len(data), len(whole)) <= most:
        assert asyncio.run(_read(Packed(), most)) == whole
    else:
        with pytest.raises(ValueError, match="larger than"):
            asyncio.run(_read(Packed(), most))


@pytest.mark.parametrize(
    ("packing", "content", "said"),
    [("br", b"x", "packed as br"), ("gzip", b"no gzip", "cannot be read")],
)
def test_what_cannot_be_unpacked_is_an_error(
    server: Server, packing: str, content: bytes, said: str
) -> None:
    server.answers["/"] = (200, {"Content-Encoding": packing}, content)
    with pytest.raises(ValueError, match=said):
        fetch(local(server), url(server))


def test_an_endless_answer_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # takes connections, and never says a word
        tool = http(
            [f"a.test:{port}"], networks=LOOPBACK, resolve=resolving("127.0.0.1"), timeout=0.2
        )
        with pytest.raises(TimeoutError, match=r"no whole answer within 0.2 s"):
            fetch(tool, f"http://a.test:{port}/")


def test_what_is_no_text_is_not_shown(server: Server) -> None:
    server.answers["/"] = (200, {"Content-Type": "image/png"}, b"\x89PNG")
    assert fetch(local(server), url(server)).body == "[4 bytes of image/png]"
    server.answers["/"] = (200, {"Content-Type": "text/x; charset=nonsense"}, b"ok\xff")
    assert fetch(local(server), url(server)).body == "ok\ufffd"


# ------------------------------------------------------------------------------------------ a tool


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hosts": "a.test"}, "give a list of names"),
        ({"hosts": []}, "give a list of names"),
        ({"hosts": ["https://a.test"]}, "give a list of names"),
        ({"hosts": ["a.test?x"]}, "give a list of names"),
        ({"hosts": ["a.test:x"]}, "'a.test:x' is no name of a host"),
        ({"headers": ["X"]}, "headers: give names and texts"),
        ({"timeout": None}, "timeout=None: give a positive number of seconds"),
        ({"largest": "3"}, "largest='3': give a whole number of at least 1"),
        ({"redirects": -1}, "redirects=-1: give a whole number of at least 0"),
        ({"methods": "GET"}, "give a list of GET"),
        ({"methods": ["BREW"]}, "give a list of GET"),
        ({"headers": {"X": "y"}, "hosts": ["a.test", "b.test"]}, "make a tool of its own"),
        ({"headers": {"X": "y"}, "hosts": ["*.a.test"]}, "make a tool of its own"),
        ({"networks": ["10.0.0.1/8"]}, "write '127.0.0.0/8'"),
        ({"largest": 0}, "largest=0: give"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        http(**{"hosts": ["a.test"], **options})


def test_a_model_sees_neither_headers_nor_exceptions_but_words(server: Server) -> None:
    tool = local(server, headers={"X-Key": "swordfish"}, methods=["GET", "POST"])
    assert (tool.effect, tool.labels) == ("unsafe", {"outside", "sends"})
    assert "swordfish" not in f"{tool!r}{tool.spec}{tool.function}"
    model = Scripted(
        [
            ToolCall("1", "http", {"url": url(server)}),
            ToolCall("2", "http", {"url": "http://10.0.0.1/"}),
            "Done.",
        ]
    )
    assert Loop(model).run_now(Task("Fetch.", tools=[tool])).output == "Done."
    first, second = (r.messages[-1].blocks[0] for r in model.requests[1:])
    assert first.outside  # type: ignore[union-attr]
    assert '"body": "hello"' in first.content  # type: ignore[union-attr]
    assert second.content.startswith("PermissionError: 10.0.0.1 is not allowed")  # type: ignore[union-attr]
