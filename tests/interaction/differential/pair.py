"""Two frontends before one pooler, alike but for their way through: one takes the short way, and one never does.

Each request is sent to both, one after the other; what came back, and what reached the backends, must be the same.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import structlog

from frontend.server import Server
from tests.interaction.differential.case import Case
from tests.interaction.differential.foreign import ForeignHost
from tests.interaction.differential.likeness import differences, unlike
from tests.interaction.differential.offer import CONFIGURATION
from tests.interaction.differential.raw_client import Heard, hear
from tests.interaction.differential.request import PLACES, filled, modern
from tests.interaction.line import PATIENCE_SECONDS, Line
from tests.interaction.talker import Talker

TOKEN, OTHER = "0123456789abcdef-shop", "fedcba9876543210-other"

BEHIND = modern("echo", {"value": "behind"}).and_header("authorization", "Bearer @token@").raw()

OPEN: dict[str, Any] = {}
"""As a frontend is without any setting."""
GUARDED: dict[str, Any] = {
    "tokens": [
        {"token": TOKEN, "tenant": "shop", "principal": "ana"},
        {"token": OTHER, "tenant": "other", "principal": "bob"},
    ],
    "allowed_origins": ["https://app.example.com", "https://*.example.com:*"],
    "request_bytes_max": 2048,
    "result_bytes_max": 65_536,
}
STATELESS: dict[str, Any] = {"conversations": False}
"""The revision before has no conversations here."""

FOREIGN: dict[str, Any] = {"host": ForeignHost}
"""The short way's frontend stands behind somebody else's server."""

SETTINGS = {"open": OPEN, "guarded": GUARDED, "stateless": STATELESS, "foreign": FOREIGN}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request on one of the two ways. `calls`: how many reached the pools, by backend."""

    heard: Heard
    calls: Mapping[str, int]
    hot: int
    """How many answers came the short way."""


@dataclass
class Way:
    """One frontend of a pair, and what is known only of this one."""

    line: Line
    server: Server
    places: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.server.address

    async def prepare(self, tokens: Sequence[str], conversations: bool) -> None:
        """Waits until there is a catalogue, and begins the conversations that requests may name."""
        token, other = tokens
        self.places = dict(zip(PLACES, (self.address, "none", "none", "none", token, other), strict=True))
        async with httpx.AsyncClient() as http:
            await self._catalogue(http)
            if not conversations:
                return
            for place, bearer in (("@talk@", token), ("@ended@", token), ("@foreign@", other)):
                talker = Talker(http, f"http://{self.address}/mcp", bearer)
                await talker.open()
                self.places[place] = talker.handle
                if place == "@ended@":
                    await talker.delete()

    async def _catalogue(self, http: httpx.AsyncClient) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (await http.get(f"http://{self.address}/healthz")).json()["catalogue"]:  # noqa: ASYNC110 - HTTP
                await asyncio.sleep(0.01)

    async def send(self, case: Case) -> Outcome:
        before, hot = self._calls(), self._hot()
        heard = await hear(self.address, [filled(piece, self.places) for piece in case.pieces], case.in_turn)
        await self._forgotten()
        calls = {name: count - before[name] for name, count in self._calls().items()}
        if not case.cut_off:
            return Outcome(heard, calls, self._hot() - hot)
        # What comes behind on the same stream to the pooler has let it hear of everything before.
        await hear(self.address, [filled(BEHIND, self.places)])
        return Outcome(heard, {}, 0)

    async def _forgotten(self) -> None:
        """Waits until nothing of the client is left in the frontend."""
        state = self.server.server_state
        async with asyncio.timeout(PATIENCE_SECONDS):
            while state.connections or state.tasks:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0)

    def _calls(self) -> dict[str, int]:
        return {name: driver.calls_total for name, driver in self.line.pooler._drivers.items()}

    def _hot(self) -> int:
        return self.server.frontend.desk.answered


@dataclass(frozen=True)
class Pair:
    """The two ways with the same settings."""

    hot: Way
    slow: Way

    async def send(self, case: Case) -> tuple[Outcome, Outcome]:
        """What became of it on the short way, and on the other."""
        return await self.hot.send(case), await self.slow.send(case)


def compared(hot: Outcome, slow: Outcome) -> list[str]:
    """Where the two differ for a client or a backend; empty where they do not."""
    assert slow.hot == 0
    answers = hot.heard.answers, slow.heard.answers
    counts = [*map(len, answers), hot.heard.kept, hot.calls], [*map(len, answers[::-1]), slow.heard.kept, slow.calls]
    return [
        *differences(*counts, "how many, kept, calls"),
        *(
            each
            for number, pair in enumerate(zip(*answers, strict=False))
            for each in unlike(*pair, f"answer {number}")
        ),
    ]


@asynccontextmanager
async def pairs(
    folder: Path,
    configuration: dict[str, Any] = CONFIGURATION,
    all_settings: Mapping[str, dict[str, Any]] = SETTINGS,
) -> AsyncIterator[dict[str, Pair]]:
    """A pair of frontends for each of these settings, all of them before one pooler and ready."""
    line = Line(folder)
    # What is said of so many faulty requests nobody reads, and it would take most of the time.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    try:
        await line.start_pooler(configuration)
        yield {name: await _pair(line, settings) for name, settings in all_settings.items()}
    finally:
        await line.close()
        logging.disable(logging.NOTSET)
        structlog.reset_defaults()


async def _pair(line: Line, settings: dict[str, Any]) -> Pair:
    ways = []
    for hot in (True, False):
        # The slow way's import must not be part of what is seen.
        given = settings if hot else {name: value for name, value in settings.items() if name != "host"}
        await line.start_frontend(**given, hot=hot, preload=True)
        ways.append(Way(line, line.frontends[-1]))
        tokens = (TOKEN, OTHER) if "tokens" in settings else ("none", "none")
        await ways[-1].prepare(tokens, settings.get("conversations", True))
    return Pair(*ways)
