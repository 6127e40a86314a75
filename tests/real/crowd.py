"""A crowd of MCP callers who are told when they are given somebody else's answer, by what they ask for.

The callers keep their HTTP connections, and ask again as soon as they have an answer. What they heard is counted, and
what was written is remembered, for a judge who asks the database. Nothing is retried here.
"""

import asyncio
import itertools
import random
import socket
from collections import Counter
from dataclasses import dataclass, field

import orjson

from tests.real.asks import Ask, digest, digests, note, quotient
from tests.real.mcp_http import VERSION
from tests.real.relay import RESETS


@dataclass(slots=True)
class Heard:
    """What the crowd heard: right answers by tool, and the sentences of those who got none."""

    right: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[Ask, bytes]] = field(default_factory=list)
    """Answers that their arguments do not explain."""
    noted: set[str] = field(default_factory=set)
    """Writes that were acknowledged."""
    unsure: set[str] = field(default_factory=set)
    """Writes that were begun, and not acknowledged."""


class Connection:
    """One caller's connection: a call at a time, in its hand. Raises OSError, EOFError when the other side ends it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._ids = itertools.count(1)

    @classmethod
    async def to(cls, address: str) -> "Connection":
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port), limit=1 << 20))

    def send(self, ask: Ask) -> int:
        """Sends it, and does not wait for anything; its id."""
        number = next(self._ids)
        self._writer.write(_request(number, ask))
        return number

    async def receive(self) -> bytes:
        """The body of the next answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        _, _, rest = head.partition(b"content-length:")
        assert rest, f"an answer without a length: {head!r}"
        return await self._reader.readexactly(int(rest.partition(b"\r")[0]))

    def vanish(self) -> None:
        """Ends it as a machine does that is switched off: RST, and no farewell."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
        self._writer.transport.abort()


def _request(number: int, ask: Ask) -> bytes:
    meta = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
    params = {"name": ask.tool, "arguments": ask.arguments, "_meta": meta}
    body = orjson.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
    return (
        b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: %b\r\n"
        b"Mcp-Method: tools/call\r\nMcp-Name: %b\r\nContent-Length: %d\r\n\r\n%b"
    ) % (VERSION.encode(), ask.tool.encode(), len(body), body)


class Crowd:
    """So many callers of one frontend, who draw what they ask for from a seed."""

    def __init__(self, address: str, callers: int, seed: int = 1) -> None:
        self.heard = Heard()
        self._address, self._callers = address, callers
        self._chance = random.Random(seed)
        self._tokens = (f"{seed}-{number}" for number in itertools.count())
        self._progress = asyncio.Event()
        self._over = False

    async def run(self) -> None:
        """Until `finish`, and until each caller has the answer to what he has asked last."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._callers):
                group.create_task(self._call())

    def finish(self) -> None:
        self._over = True

    async def more(self, answers: int) -> None:
        """Until there are so many more right answers."""
        target = self.heard.right.total() + answers
        while self.heard.right.total() < target:
            self._progress.clear()
            await self._progress.wait()

    def draw(self) -> Ask:
        """What a caller asks for next: mostly what is short, sometimes what is wrong, long, or writes."""
        token, kind = next(self._tokens), self._chance.random()
        if kind < 0.80:
            return digest(token)
        if kind < 0.90:
            return quotient(self._chance.randrange(1_000_000), self._chance.randrange(3))
        return note(token) if kind < 0.98 else digests(token)

    async def _call(self) -> None:
        connection = await Connection.to(self._address)
        while not self._over:
            ask = self.draw()
            if ask.tool == "note":
                self.heard.unsure.add(ask.arguments["token"])
            number = connection.send(ask)
            self._judge(number, ask, await connection.receive())
            self._progress.set()
        connection.vanish()

    def _judge(self, number: int, ask: Ask, body: bytes) -> None:
        heard, verdict = self.heard, ask.verdict(number, body)
        if verdict == "wrong":
            heard.wrong.append((ask, body))
        elif verdict == "failed":
            heard.failed[_sentence(body)] += 1
        else:
            heard.right[ask.tool] += 1
            if ask.tool == "note":
                heard.noted.add(ask.arguments["token"])
                heard.unsure.discard(ask.arguments["token"])


def _sentence(body: bytes) -> str:
    """What a caller was told who got no result."""
    answer = orjson.loads(body)
    return str(answer["result"]["content"][0]["text"] if "result" in answer else answer["error"]["message"])
