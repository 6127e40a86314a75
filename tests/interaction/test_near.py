"""Answers that a frontend gives again by itself: when it may, and what ends that."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx
import pytest

from frontend.near import Near
from frontend.pooler_client import client
from tests.interaction.line import LEGACY, MODERN, PATIENCE_SECONDS, Line, eventually, legacy, modern
from tests.interaction.talker import Talker, tool

pytestmark = pytest.mark.anyio

SHOP, CLERK, OTHER = "0123456789abcdef-ana", "0123456789abcdef-bob", "fedcba9876543210-eve"
TOKENS = [
    {"token": SHOP, "tenant": "shop", "principal": "ana"},
    {"token": CLERK, "tenant": "shop", "principal": "bob"},
    {"token": OTHER, "tenant": "other", "principal": "eve"},
]


def count_of(**cache: Any) -> dict[str, Any]:
    """A read of how often a value was put, whose answers are kept on these terms."""
    return {
        "backend": "sim",
        "method": "count",
        "arguments": {"value": {"type": "string"}},
        "effect": "read",
        "cache": {"ttl_seconds": 60, "tags": ["stock:{value}"], **cache},
    }


CONFIGURATION: dict[str, Any] = {
    "backends": {"sim": {"kind": "simulated", "pool": {"cap": 2}}},
    "operations": {
        "stock": count_of(near=True),
        "own": count_of(near=True, scope="principal"),
        "public": count_of(near=True, scope="shared"),
        "brief": count_of(near=True, ttl_seconds=0.3),
        "kept": count_of(),
        "strict": count_of(strict=True),
        "put": {
            "backend": "sim",
            "method": "put",
            "arguments": {"value": {"type": "string"}},
            "effect": "write",
            "invalidates": ["stock:{value}"],
        },
    },
}


@dataclass
class Shop:
    """A pooler, two frontends before it, and somebody who asks them."""

    line: Line
    http: httpx.AsyncClient

    def near(self, number: int = 0) -> Near:
        return self.line.frontends[number].frontend.desk.near

    async def call(self, name: str, value: str = "apples", *, at: int = 0, who: str = SHOP, era: str = MODERN) -> Any:
        """The result of a call at one of the frontends."""
        params = {"name": name, "arguments": {"value": value}}
        request = modern("tools/call", params, name) if era == MODERN else legacy("tools/call", params)
        request["headers"]["authorization"] = f"Bearer {who}"
        answer = await self.http.post(f"http://{self.line.frontends[at].address}/mcp", **request)
        text = answer.text if era == MODERN else answer.text.partition("data: ")[2]
        return httpx.Response(200, text=text).json()["result"]

    async def ask(self, name: str, value: str = "apples", **more: Any) -> tuple[int, str]:
        """What was answered, and from where."""
        result = await self.call(name, value, **more)
        return result["structuredContent"]["result"], result["_meta"]["penstock/cache"]["cache"]

    async def is_kept(self, name: str, value: str = "apples", **more: Any) -> bool:
        """Asks twice, and says whether the frontend has answered the second time by itself."""
        await self.ask(name, value, **more)
        hits = self.near(more.get("at", 0)).hits
        await self.ask(name, value, **more)
        return self.near(more.get("at", 0)).hits > hits


@pytest.fixture
async def shop(bare_line: Line) -> AsyncIterator[Shop]:
    await bare_line.start_pooler(CONFIGURATION)
    for _ in range(2):
        await bare_line.start_frontend(tokens=TOKENS)
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
        made = Shop(bare_line, http)
        # Whoever opens a stream by a call of its own is not granted anything yet.
        for number in range(2):
            await made.ask("kept", "nothing", at=number)
        yield made


@pytest.mark.parametrize("era", [MODERN, LEGACY])
async def test_an_answer_is_given_again_without_the_pooler_and_says_so(shop: Shop, era: str) -> None:
    assert await shop.ask("stock", era=era) == (0, "miss")
    asked = shop.line.pooler._drivers["sim"].calls_total
    assert await shop.ask("stock", era=era) == (0, "hit")
    assert (shop.near().hits, shop.line.pooler._drivers["sim"].calls_total) == (1, asked)
    again = await shop.call("stock", era=era)
    assert again["_meta"]["penstock/cache"]["age_ms"] >= 0
    assert set(again["_meta"]["penstock/timing"].values()) == {0.0}


async def test_both_revisions_have_one_answer(shop: Shop) -> None:
    await shop.ask("stock", era=MODERN)
    assert await shop.ask("stock", era=LEGACY) == (0, "hit")
    assert shop.near().hits == 1


@pytest.mark.promise(26)
async def test_a_write_through_another_frontend_ends_what_was_kept(shop: Shop) -> None:
    assert await shop.is_kept("stock", "apples", at=0)
    assert await shop.is_kept("stock", "pears", at=0)
    await shop.call("put", "apples", at=1)
    await eventually(lambda: len(shop.near(0)) == 1)
    assert await shop.ask("stock", "apples", at=0) == (1, "miss")
    assert await shop.ask("stock", "pears", at=0) == (0, "hit")


@pytest.mark.promise(26)
async def test_whoever_writes_reads_what_was_written_through_the_same_frontend(shop: Shop) -> None:
    """The invalidation travels before the answer to the write."""
    for count in range(20):
        assert (await shop.ask("stock"))[0] == count
        assert await shop.ask("stock") == (count, "hit")
        await shop.call("put")


@pytest.mark.promise(26)
async def test_nobody_is_answered_with_what_is_not_theirs(shop: Shop) -> None:
    assert await shop.is_kept("stock", who=SHOP)
    assert (await shop.ask("stock", who=CLERK), await shop.ask("stock", who=OTHER)) == ((0, "hit"), (0, "miss"))
    assert await shop.is_kept("own", who=SHOP)
    assert await shop.ask("own", who=CLERK) == (0, "miss")
    assert await shop.is_kept("public", who=SHOP)
    hits = shop.near().hits
    assert await shop.ask("public", who=OTHER) == (0, "hit")
    assert shop.near().hits == hits + 1


@pytest.mark.parametrize("name", ["kept", "strict"])
async def test_what_the_pooler_does_not_grant_is_asked_for_again(shop: Shop, name: str) -> None:
    assert not await shop.is_kept(name)
    assert len(shop.near()) == 0


@pytest.mark.promise(27)
async def test_nothing_is_given_beyond_its_time(shop: Shop) -> None:
    assert await shop.is_kept("brief")
    clock = shop.near()._now
    until = clock() + 0.3
    await eventually(lambda: clock() >= until)
    hits = shop.near().hits
    await shop.ask("brief")
    assert shop.near().hits == hits


@pytest.mark.promise(27)
async def test_a_stream_that_ends_leaves_nothing_behind(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "OPEN_SECONDS", 0.5)
    assert await shop.is_kept("stock")
    await shop.line.relay.cut()
    await eventually(lambda: len(shop.near()) == 0)
    assert (await shop.call("stock"))["_meta"]["penstock/error"]["reason"] == "POOLER_AWAY"


async def test_a_pooler_that_goes_takes_along_what_it_granted(shop: Shop) -> None:
    assert await shop.is_kept("stock")
    await shop.line.stop_pooler()
    await eventually(lambda: len(shop.near()) == 0)


async def test_an_operation_that_becomes_another_one_answers_anew(shop: Shop) -> None:
    assert await shop.is_kept("stock")
    changed = {**CONFIGURATION["operations"], "stock": {**count_of(near=True), "method": "echo"}}
    await shop.line.reload({"operations": changed})
    await eventually(lambda: len(shop.near()) == 0)
    assert (await shop.call("stock"))["structuredContent"] == {"result": "apples"}


async def test_a_call_in_a_conversation_is_answered_by_the_pooler_which_alone_knows_the_conversation(
    shop: Shop,
) -> None:
    assert await shop.is_kept("stock")
    hits = shop.near().hits
    talker = Talker(shop.http, shop.line.url, SHOP)
    await talker.open()
    await talker.ask("tools/call", tool("stock", {"value": "apples"})["params"])
    assert shop.near().hits == hits


async def test_a_frontend_that_keeps_nothing_is_granted_nothing(shop: Shop) -> None:
    await shop.line.start_frontend(tokens=TOKENS, near_bytes=0)
    await shop.ask("kept", "nothing", at=2)
    assert not await shop.is_kept("stock", at=2)


async def test_what_is_kept_is_bounded_and_the_rest_still_answered(shop: Shop) -> None:
    await shop.line.start_frontend(tokens=TOKENS, near_bytes=10_000)
    await shop.ask("kept", "nothing", at=2)
    for number in range(100):
        assert (await shop.ask("stock", str(number), at=2))[0] == 0
    assert 0 < len(shop.near(2)) < 20
    assert shop.near(2).bytes <= 10_000
