"""A client that sends bytes, well-formed or not, and keeps every byte of what comes back.

It says nothing of what it hears but what HTTP says: where an answer ends, and whether the connection was kept.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import httptools

from tests.interaction.line import PATIENCE_SECONDS

LAST: Final = b"GET /nothing HTTP/1.1\r\nhost: last\r\nconnection: close\r\n\r\n"
"""Whatever answers it has kept the connection until then; its answer is the last one."""

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `body`: without the chunks' frames. `interim`: what was said before it, such as 100 Continue."""

    status: bytes
    headers: tuple[Header, ...]
    body: bytes
    interim: tuple[bytes, ...] = ()

    @property
    def code(self) -> int:
        return int(self.status.split(b" ")[1])

    def header(self, name: bytes) -> bytes:
        """The first header of this name; empty without one."""
        return next((value for each, value in self.headers if each == name), b"")


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back. `kept`: whether the connection was still good for another request afterwards."""

    answers: tuple[Answer, ...]
    kept: bool


class Reading:
    """What is in a client's bytes, by the parser that servers use as well."""

    def __init__(self, data: bytes) -> None:
        self.methods: list[bytes] = []
        """Of the requests whose answers can be waited for: those that are whole, and one that is none."""
        self.whole = True
        """Whether there is nothing behind the last of them."""
        self.broken = False
        """Whether there is anything in it that is no request."""
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            self.broken = self.whole = True
            self.methods.append(b"POST")

    def on_message_begin(self) -> None:
        self.whole = False

    def on_message_complete(self) -> None:
        self.whole = True
        self.methods.append(self._parser.get_method())


async def hear(address: str, pieces: Sequence[bytes], in_turn: bool = False) -> Heard:
    """Sends the pieces, each as a write of its own, and hears all that comes. What is never whole is left.

    `in_turn`: each piece after the answers to the one before.
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await _exchange(reader, writer, pieces, in_turn)
    except TimeoutError:
        raise AssertionError(f"no answer to {[piece[:2000] for piece in pieces]}") from None
    finally:
        writer.transport.abort()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pieces: Sequence[bytes], in_turn: bool
) -> Heard:
    answers: list[Answer] = []
    reading = Reading(b"")
    for sent in [[piece] for piece in pieces] if in_turn else [pieces]:
        for piece in sent:
            writer.write(piece)
            await asyncio.sleep(0)
        reading = Reading(b"".join(sent))
        for method in reading.methods:
            if (answer := await _answer(reader, method)) is None:
                return Heard(tuple(answers), kept=False)
            answers.append(answer)
    return Heard(tuple(answers), kept=reading.whole and await _is_kept(reader, writer))


async def _is_kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(LAST)
    last = await _answer(reader, b"GET")
    assert last is None or (last.code == 404 and b"connection: close" in _lines(last)), last
    return last is not None


def _lines(answer: Answer) -> list[bytes]:
    return [b": ".join(each) for each in answer.headers]


async def _answer(reader: asyncio.StreamReader, method: bytes) -> Answer | None:
    """The next answer; None when the connection has ended before it."""
    interim: list[bytes] = []
    try:
        while True:
            status, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
            headers = tuple((name, value) for name, _, value in (line.partition(b": ") for line in lines))
            if not status.startswith(b"HTTP/1.1 1"):
                return Answer(status, headers, await _body(reader, method, dict(headers)), tuple(interim))
            interim.append(status)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def _body(reader: asyncio.StreamReader, method: bytes, headers: dict[bytes, bytes]) -> bytes:
    if method == b"HEAD":
        return b""
    if headers.get(b"transfer-encoding") == b"chunked":
        return b"".join([chunk async for chunk in _chunks(reader)])
    return await reader.readexactly(int(headers.get(b"content-length", b"0")))


async def _chunks(reader: asyncio.StreamReader):
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
