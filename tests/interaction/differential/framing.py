"""HTTP below MCP: paths and methods, lengths and chunks, old versions, several requests at once, no HTTP."""

from collections.abc import Iterator
from dataclasses import replace

from tests.interaction.differential.case import ERAS, STATELESS_ERAS, Case, Cases, one
from tests.interaction.differential.request import Request

TARGETS = (
    "/mcp/", "/MCP", "/mc%70", "/mcp?x=1", "/mcp?", "/mcp#x", "//mcp", "/./mcp", "/mcp/x", "/", "/healthz", "*",
    "http://127.0.0.1/mcp", "http://evil.example.com/mcp", "/mcp%00", "/mcp%2f", "/mcp;x", "/\xe9",
)  # fmt: skip
METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "post", "Post", "BREW", "PROPFIND")


def targets_and_methods() -> Cases:
    for era, call in STATELESS_ERAS.items():
        request = call("echo", {"value": 1})
        for target in TARGETS:
            yield one(f"{era}: to {target}", replace(request, target=target))
        for method in METHODS:
            yield one(f"{era}: {method}", replace(request, method=method))
            yield one(f"{era}: {method} without a body", replace(request, method=method, body=b""))
    for method in ("GET", "DELETE", "HEAD"):
        gone = ERAS["conversation"]("echo").with_header("mcp-session-id", "none")
        yield one(f"{method} of no conversation", replace(gone, method=method, body=b""))


def preflights() -> Cases:
    """What a browser asks before it lets a page call."""
    asked = Request((("host", "@host@"),), method="OPTIONS")
    for origin in ("http://localhost:3000", "https://app.example.com", "http://evil.example.com", "null"):
        for method in ("POST", "GET", "PUT"):
            request = asked.and_header("origin", origin).and_header("access-control-request-method", method)
            wanted = request.and_header("access-control-request-headers", "mcp-method, content-type, x-own")
            yield one(f"{origin} before {method}", wanted, False, ("open", "guarded"))
    yield one("no origin", asked.and_header("access-control-request-method", "POST"), hot=False)
    yield one("no method", asked.and_header("origin", "http://localhost:3000"), hot=False)


def lengths() -> Cases:
    for era, call in STATELESS_ERAS.items():
        request = call("echo", {"value": 1})
        size, bare = len(request.body), replace(request, framed=False)
        for kind, lines in (
            ("none", ()), ("zero", ("0",)), ("too small", (str(size - 5),)), ("twice the same", (str(size),) * 2),
            ("twice, and not the same", (str(size), "5")), ("with a plus", (f"+{size}",)),
            ("in hexadecimal", (hex(size),)), ("below zero", ("-1",)), ("with white space", (f"  {size}  ",)),
            ("a list", (f"{size},{size}",)),
            ("with zeros before", (f"000{size}",)), ("empty", ("",)), ("a word", ("many",)),
        ):  # fmt: skip
            written = bare
            for line in lines:
                written = written.and_header("content-length", line)
            yield one(f"{era}: {kind} for a length", written)


def chunks() -> Cases:
    for era, call in STATELESS_ERAS.items():
        request = call("echo", {"value": 1})
        yield one(f"{era}: one chunk", request.chunked())
        yield one(f"{era}: many chunks", request.chunked(*[1] * 40))
        yield one(f"{era}: a length beside", request.chunked(10).and_header("content-length", "5"))
        yield one(f"{era}: chunks in capitals", request.chunked(10).with_header("transfer-encoding", "CHUNKED"))
        yield one(
            f"{era}: chunks in another form", request.chunked(10).with_header("transfer-encoding", "gzip, chunked")
        )
        yield one(f"{era}: chunks without a name", request.chunked(10).without("transfer-encoding"))
        body = request.chunked(10).body
        for kind, wrong in (
            ("extensions", body.replace(b"a\r\n", b"a;x=1\r\n", 1)),
            ("a size in capitals", body.replace(b"a\r", b"A\r", 1)),
            ("a wrong size", body.replace(b"a\r", b"b\r", 1)), ("no size", body.replace(b"a\r", b"\r", 1)),
            ("trailers", body.replace(b"0\r\n\r\n", b"0\r\nmcp-name: write\r\n\r\n")),
            ("bare line ends", b"a\n" + body[3:]),
        ):  # fmt: skip
            yield one(f"{era}: chunks with {kind}", replace(request.chunked(10), body=wrong))


def connections() -> Cases:
    """What a client says of the connection, and old versions of HTTP."""
    for era, call in ERAS.items():
        request = call("echo", {"value": 1})
        for value in ("close", "Close", "keep-alive", "keep-alive, close", "upgrade", "x", "close, x"):
            yield one(f"{era}: connection: {value}", request.and_header("connection", value))
        for version in ("HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1x", "HTTPS/1.1"):
            yield one(f"{era}: {version}", replace(request, version=version))
        kept = replace(request, version="HTTP/1.0").and_header("connection", "keep-alive")
        yield one(f"{era}: HTTP/1.0, kept", kept)
        for value in ("websocket", "h2c", "x"):
            wanted = request.and_header("connection", "upgrade").and_header("upgrade", value)
            yield one(f"{era}: upgrade to {value}", wanted)
        for value in ("100-continue", "100-Continue", "x"):
            yield one(f"{era}: expect {value}", request.and_header("expect", value))


def at_once() -> Cases:
    """Several requests in one write: their answers come in their order."""
    for era, call in ERAS.items():
        calls = [call("echo", {"value": number}, number).raw() for number in range(4)]
        slow = call("explain", {"value": "slower"}, 9).raw()
        other = Request((("host", "@host@"),), method="GET", target="/healthz").raw()
        wrong = call("nope", {}, 8).raw()
        last = call("echo", {"value": 5}).and_header("connection", "close").raw()
        yield Case(f"{era}: four calls", (b"".join(calls),))
        yield Case(f"{era}: four calls, one by one", tuple(calls))
        yield Case(f"{era}: a slow one first", (slow + b"".join(calls),))
        yield Case(f"{era}: something else between", (calls[0] + other + calls[1] + wrong + calls[2],))
        yield Case(f"{era}: something else first", (other + calls[0],))
        yield Case(f"{era}: the last one closes", (calls[0] + last,))
        yield Case(f"{era}: one too many", (calls[0] + last + calls[1],))
        yield Case(f"{era}: nonsense behind", (calls[0] + b"nonsense\r\n\r\n",), cut_off=True)
        yield Case(f"{era}: line ends between", (calls[0] + b"\r\n" + calls[1] + b"\r\n\r\n" + calls[2],))
        # Misfits are answered at once, so that the next one finds the connection free.
        misfit = call("echo", {"more": 1})
        one, nobody = (misfit.and_header("authorization", f"Bearer {bearer}").raw() for bearer in ("@token@", "wrong"))
        mixed = (one, one, nobody, one, misfit.raw(), one)
        yield Case(f"{era}: other bearers on one connection", mixed, settings=("guarded",))
    modern, legacy = (call("echo", {"value": era}, era).raw() for era, call in STATELESS_ERAS.items())
    yield Case("both eras on one connection", (modern + legacy + modern,))


def in_pieces() -> Cases:
    """One request in several writes, cut anywhere."""
    for era, call in STATELESS_ERAS.items():
        raw = call("echo", {"value": "in pieces – ü"}).raw()
        head = raw.index(b"\r\n\r\n") + 4
        for kind, cuts in (
            ("head and body", (head,)), ("an early end", (3,)), ("within the head", (head // 2, head - 2)),
            ("within the body", (head + 10, head + 20)), ("within a character", (raw.index(b"\xc3") + 1,)),
            ("all but the last byte", (len(raw) - 1,)),
        ):  # fmt: skip
            yield Case(f"{era}: {kind}", tuple(_cut(raw, cuts)))
        awaiting = call("echo", {"value": 1}).and_header("expect", "100-continue").raw()
        yield Case(f"{era}: the body asked for", tuple(_cut(awaiting, (awaiting.index(b"\r\n\r\n") + 4,))))


def no_http() -> Cases:
    raw = ERAS["modern"]("echo", {"value": 1}).raw()
    for kind, bytes_ in (
        ("a word", b"hello\r\n\r\n"), ("a line", b"GET\r\n\r\n"), ("zeros", b"\0" * 20),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ("bare line ends", raw.replace(b"\r\n", b"\n")),
        ("a line end before", b"\r\n" + raw), ("a folded header", raw.replace(b"accept: ", b"accept:\r\n  ")),
        ("a header without a colon", raw.replace(b"accept: ", b"accept ")),
        ("a header without a name", raw.replace(b"accept: ", b": ")),
        ("a zero in a header", raw.replace(b"accept: ", b"accept: \0")),
        ("a bare carriage return", raw.replace(b"accept: ", b"accept: \r ")),
        ("no host", raw.replace(b"host: @host@\r\n", b"")),
    ):  # fmt: skip
        yield Case(kind, (bytes_,))


def _cut(raw: bytes, cuts: tuple[int, ...]) -> Iterator[bytes]:
    at = 0
    for cut in cuts:
        yield raw[at:cut]
        at = cut
    yield raw[at:]


def all_framing() -> list[Case]:
    families = (targets_and_methods, preflights, lengths, chunks, connections, at_once, in_pieces, no_http)
    return [case for family in families for case in family()]
