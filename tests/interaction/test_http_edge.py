"""What a frontend answers to HTTP that is no well-behaved MCP client's."""

import asyncio
import json
from typing import Any

import httpx2 as httpx
import orjson
import pytest

from frontend.app import Frontend
from frontend.config import Settings
from tests.interaction.line import MODERN, Line, eventually, legacy, modern

pytestmark = pytest.mark.anyio

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "HEAD"])
async def test_only_post_is_allowed_and_the_answer_says_so(line: Line, method: str) -> None:
    async with line.http() as http:
        answer = await http.request(method, line.url, headers={"accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_health_says_that_the_process_lives_and_what_it_knows(line: Line) -> None:
    async with line.http() as http, line.client() as client:
        await client.call_tool("echo", {"value": "x"})
        answer = await http.get(line.url.replace("/mcp", "/healthz"))
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "catalogue": line.pooler._board.current.revision, "connected": True}


async def test_any_other_path_is_not_found(line: Line) -> None:
    async with line.http() as http:
        assert (await http.post(line.url + "/x", json={})).status_code == 404


async def test_a_request_without_a_known_token_is_challenged(bare_line: Line) -> None:
    await bare_line.start_frontend(tokens=[{"token": TOKEN}])
    async with bare_line.http() as http:
        bare = await http.post(bare_line.url, **modern("tools/list"))
        wrong = modern("tools/list")
        wrong["headers"]["authorization"] = "Bearer fedcba9876543210"
        refused = await http.post(bare_line.url, **wrong)
    assert (bare.status_code, bare.headers["www-authenticate"]) == (401, 'Bearer realm="penstock"')
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    assert "fedcba" not in refused.text


async def test_another_hosts_name_is_refused(line: Line) -> None:
    request = modern("tools/list")
    request["headers"]["host"] = "evil.example.com"
    async with line.http() as http:
        assert (await http.post(line.url, **request)).status_code == 421


async def test_another_sites_page_is_refused(line: Line) -> None:
    request = modern("tools/list")
    request["headers"]["origin"] = "https://evil.example.com"
    async with line.http() as http:
        answer = await http.post(line.url, **request)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


async def test_an_allowed_page_may_ask_from_a_browser(bare_line: Line) -> None:
    await bare_line.start_pooler()
    await bare_line.start_frontend(allowed_origins=["https://app.example.com"])
    asking = {
        "origin": "https://app.example.com",
        "access-control-request-method": "POST",
        "access-control-request-headers": "mcp-protocol-version,mcp-method,content-type",
    }
    request = modern("tools/list")
    request["headers"]["origin"] = "https://app.example.com"
    async with bare_line.http() as http:
        may = await http.options(bare_line.url, headers=asking)
        answer = await http.post(bare_line.url, **request)
    assert (may.status_code, may.headers["access-control-allow-origin"]) == (200, "https://app.example.com")
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://app.example.com")


async def test_a_body_beyond_the_bound_is_refused(bare_line: Line) -> None:
    await bare_line.start_frontend(request_bytes_max=2048)
    request = modern("tools/call", {"name": "echo", "arguments": {"value": "x" * 4096}}, "echo")
    async with bare_line.http() as http:
        assert (await http.post(bare_line.url, **request)).status_code == 413


@pytest.mark.parametrize(
    ("body", "code"), [(b"{", -32700), (b"[]", -32600), (b'{"jsonrpc":"2.0","id":1,"method":"nope"}', None)]
)
async def test_a_malformed_request_is_a_protocol_error(line: Line, body: bytes, code: int | None) -> None:
    headers = {**modern("nope")["headers"], "content-type": "application/json"}
    async with line.http() as http:
        answer = await http.post(line.url, content=body, headers=headers)
    assert answer.status_code == 400
    assert code is None or orjson.loads(answer.content)["error"]["code"] == code


async def test_a_text_that_no_json_can_carry_is_refused_before_it_goes_anywhere(line: Line) -> None:
    request = modern("tools/call", {"name": "echo", "arguments": {"value": "half a pair: \ud800"}}, "echo")
    headers = {**request["headers"], "content-type": "application/json"}
    async with line.http() as http:
        answer = await http.post(line.url, content=json.dumps(request["json"]).encode(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)
    assert line.system().requests_total == 0


async def test_a_host_without_a_lifespan_starts_the_frontend_with_its_first_request(line: Line) -> None:
    settings = Settings(pooler=line.pooler.address)
    frontend = Frontend(settings)
    transport = httpx.ASGITransport(app=frontend)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http:
        answer = await http.post("/mcp", **modern("tools/list"))
    await frontend.stop()
    assert len(answer.json()["result"]["tools"]) == 5


def on_the_wire(line: Line, request: dict[str, Any], after_values: str = "") -> bytes:
    """A request as the bytes that travel; `after_values` stands after the value of each header."""
    body = orjson.dumps(request["json"])
    headers = {**request["headers"], "host": line.frontends[0].address, "content-type": "application/json"}
    lines = [f"{name}: {value}{after_values}" for name, value in headers.items()]
    head = "\r\n".join(["POST /mcp HTTP/1.1", *lines, f"content-length: {len(body)}", "connection: close"])
    return f"{head}\r\n\r\n".encode() + body


async def connected(line: Line) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = line.frontends[0].address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def test_white_space_after_a_header_is_no_part_of_it(line: Line) -> None:
    reader, writer = await connected(line)
    writer.write(on_the_wire(line, modern("tools/list"), after_values=" \t"))
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b'"name":"echo"' in answer


@pytest.mark.parametrize("vanish", ["reset", "close"])
async def test_a_client_that_vanishes_takes_its_call_back(line: Line, era: str, vanish: str) -> None:
    params = {"name": "work", "arguments": {"seconds": 120}}
    request = modern("tools/call", params, "work") if era == MODERN else legacy("tools/call", params)
    _, writer = await connected(line)
    writer.write(on_the_wire(line, request))
    await eventually(lambda: line.system().counts().busy == 1)
    if vanish == "reset":
        writer.transport.abort()
    else:
        writer.close()
    await eventually(lambda: line.system().counts().busy == 0)
    assert line.system().counts().open == 1
