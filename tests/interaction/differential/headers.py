"""Sound calls under headers of every kind: those that MCP reads, those that HTTP does, and those that nobody does."""

from tests.interaction.differential.case import ERAS, Case, Cases, one
from tests.interaction.differential.request import ACCEPT, LEGACY, MODERN, OLDEST, Request, legacy

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

ACCEPTS = (
    "application/json,text/event-stream",
    "text/event-stream, application/json",
    "  application/json  ,  text/event-stream  ",
    "Application/JSON, TEXT/Event-Stream",
    "application/json;q=0.5, text/event-stream;q=1.0",
    "application/json; charset=utf-8, text/event-stream",
    "*/*",
    "application/*, text/*",
    "application/*",
    "application/json",
    "text/event-stream",
    "text/html",
    "application/json text/event-stream",
    "application/jsonx, text/event-stream",
    "application/json;q=0, text/event-stream",
    "",
    ",",
    "text/html, application/xhtml+xml, */*;q=0.8",
)
CONTENT_TYPES = (
    "application/json; charset=utf-8",
    "application/json;charset=latin-1",
    "APPLICATION/JSON",
    "Application/Json",
    "application/jsonp",
    "application/json-rpc",
    "application/json, text/plain",
    "text/plain, application/json",
    "text/plain",
    "text/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    " application/json ",
    "",
)
HOSTS = (
    "localhost", "localhost:80", "LOCALHOST", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "[::1]", "[::1]:8080",
    "evil.example.com", "localhost.evil.example.com", "127.0.0.1.evil.example.com", "user@localhost", "localhost, evil",
    "",
)  # fmt: skip
ORIGINS = (
    "http://localhost", "http://localhost:3000", "http://127.0.0.1:8080", "https://localhost:3000", "http://[::1]:1",
    "http://evil.example.com", "http://localhost.evil.example.com", "http://localhost:3000.evil.example.com",
    "http://localhost:", "null", "", "HTTP://LOCALHOST:3000", "https://app.example.com", "https://app.example.com:443",
    "http://app.example.com",
)  # fmt: skip
VERSIONS = (
    MODERN, LEGACY, OLDEST, "2025-06-18", "2024-11-05", "2026-07-29", "2027-01-01", "1.0", "", "draft", MODERN + " ",
    MODERN + "x", f"{LEGACY},{MODERN}", "2026-07-28\xe9",
)  # fmt: skip
METHODS = (
    "tools/list",
    "TOOLS/CALL",
    "tools/call ",
    " tools/call",
    "tools/call,tools/call",
    "",
    "=?base64?dG9vbHMvY2FsbA==?=",
)
NAMES = (
    "write", "Echo", "echo ", " echo", "echo,echo", "", "=?base64?ZWNobw==?=", "=?base64?ZWNobx==?=", "=?base64?!?=",
    "=?BASE64?ZWNobw==?=", '"echo"',
)  # fmt: skip
SESSIONS = ("@talk@", "@ended@", "@foreign@", "none", "", "a b", "@talk@x", "@talk@, @talk@", "x" * 5000)
AUTHORIZATIONS = (
    "Bearer @token@", "bearer @token@", "BEARER  @token@ ", "Bearer @other@", "Bearer wrong-wrong-wrong-wrong",
    "Bearer", "Bearer ", "Basic @token@", "@token@", "Bearer @token@x", "Bearer @token@,@token@", "",
)  # fmt: skip
WRONG = {
    "host": HOSTS,
    "origin": ORIGINS,
    "authorization": AUTHORIZATIONS,
    "mcp-protocol-version": VERSIONS,
    "mcp-method": METHODS,
    "mcp-name": NAMES,
    "mcp-session-id": SESSIONS,
    "accept": ACCEPTS,
    "content-type": CONTENT_TYPES,
}
OTHERS = {
    "cookie": ("a=b",),
    "user-agent": ("x", ""),
    "x-forwarded-for": ("10.0.0.1",),
    "x-forwarded-host": ("evil.example.com",),
    "forwarded": ("host=evil.example.com",),
    "traceparent": (TRACE, TRACE.upper(), "nonsense", ""),
    "tracestate": ("a=b",),
    "last-event-id": ("1.2", ""),
    "accept-encoding": ("gzip, br", "identity;q=0"),
    "content-encoding": ("identity", "gzip"),
    "if-none-match": ("*",),
    "range": ("bytes=0-10",),
    "x-http-method-override": ("GET",),
    "access-control-request-method": ("POST",),
    "sec-fetch-site": ("cross-site",),
    "mcp-param-": ("x",),
    "mcp-protocol-versions": ("x",),
    "te": ("trailers",),
    "x-long": ("x" * 8000,),
    "x-latin": ("caf\xe9",),
    "x-empty": ("",),
}


def _sets(request: Request, name: str, values: tuple[str, ...], settings: tuple[str, ...] = ("open",)) -> Cases:
    """A header with each of these values, without it, and twice."""
    yield one(f"no {name}", request.without(name), settings=settings)
    for value in values:
        yield one(f"{name}: {value[:40]!r}", request.with_header(name, value), settings=settings)
    for value in values[:4]:
        yield one(f"{name} and {value[:40]!r}", request.and_header(name, value), settings=settings)


def read_by_mcp() -> Cases:
    for era, call in ERAS.items():
        request = call("echo", {"value": era})
        for name, values in (
            ("accept", ACCEPTS), ("content-type", CONTENT_TYPES), ("host", HOSTS), ("mcp-protocol-version", VERSIONS),
            ("mcp-method", METHODS), ("mcp-name", NAMES), ("mcp-session-id", SESSIONS),
        ):  # fmt: skip
            for case in _sets(request, name, values):
                yield _of(era, case)
        for case in _sets(_bearing(request), "origin", ORIGINS, ("open", "guarded")):
            yield _of(era, case)
        for case in _sets(_bearing(request), "authorization", AUTHORIZATIONS, ("open", "guarded")):
            yield _of(era, case)


def conversations() -> Cases:
    """Calls that fit, do not fit, or fail, in conversations that are none, or none any more."""
    for place in ("@talk@", "@ended@", "@foreign@", "none"):
        for name, arguments in (
            ("echo", {"value": 1}),
            ("echo", {}),
            ("wrong", {}),
            ("alone", {"value": 1}),
            ("nope", {}),
        ):
            yield one(f"{name} with {len(arguments)} arguments in {place}", legacy(name, arguments, talk=place))


def read_by_others() -> Cases:
    for era, call in ERAS.items():
        request = call("echo", {"value": era})
        for name, values in OTHERS.items():
            for value in values:
                yield one(f"{era}: {name}: {value[:40]!r}", request.and_header(name, value))


def spelt() -> Cases:
    """The same headers, written otherwise."""
    for era, call in ERAS.items():
        request = call("echo", {"value": era})
        for name, value in request.headers:
            for kind, spelling in (("capitals", name.upper()), ("title", name.title())):
                yield one(f"{era}: {name} in {kind}", request.renamed(name, spelling), hot=True)
            for kind, written in (("after", f"{value} \t "), ("before", f" \t {value}")):
                yield one(f"{era}: white space {kind} {name}", request.with_header(name, written))
            yield one(f"{era}: underscores in {name}", request.renamed(name, name.replace("-", "_")))
            yield one(f"{era}: white space in the name {name}", request.renamed(name, f"{name} "))
        turned = Request(request.headers[::-1], request.body)
        yield one(f"{era}: in another order", turned, hot=True)
        twice = request.and_header("accept", ACCEPT)
        yield one(f"{era}: accept in two lines", twice.with_header("accept", "application/json"))


def one_after_another() -> Cases:
    """Requests on one connection, of which the one in the midst says something else of itself than the others."""
    for era, call in ERAS.items():
        sound = _bearing(call("echo", {"value": era}))
        others = [sound.without(name) for name, _ in sound.headers] + [
            *(sound.with_header(name, values[-2]) for name, values in WRONG.items()),
            *(other("echo", {"value": era}) for other in ERAS.values()),
            sound.with_body(sound.body + b" "),
            Request(sound.headers, sound.body, target="/mcp?x=1"),
            Request(sound.headers[::-1], sound.body),
        ]
        for number, other in enumerate(others):
            pieces = (sound.raw(), other.raw(), sound.raw(), sound.raw())
            yield Case(f"{era}: another between, {number}", pieces, settings=("open", "guarded"), in_turn=True)


def _bearing(request: Request) -> Request:
    return request.and_header("authorization", "Bearer @token@")


def _of(era: str, case: Case) -> Case:
    return Case(f"{era}: {case.name}", case.pieces, case.hot, case.settings)


def all_headers() -> list[Case]:
    return [
        case for family in (read_by_mcp, conversations, read_by_others, spelt, one_after_another) for case in family()
    ]
