"""Resources of a real PostgreSQL that are watched: a trigger's word reaches the clients of two frontends, over one
connection inside the cap."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ResourceUpdated, Subscription

from tests.interaction.line import MODERN, PATIENCE_SECONDS, eventually
from tests.programs import Frontend, Pooler
from tests.real.callers import Load
from tests.real.test_postgres_cap import LISTED, ROLE, role, sampled
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

CAP = 3
URIS = ["orders://1", "orders://2"]
LISTENERS = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND query LIKE 'LISTEN%%'"
END_LISTENERS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = %s AND query LIKE 'LISTEN%%'"
)
TABLE = """
CREATE TABLE watched (id int PRIMARY KEY, state text);
INSERT INTO watched VALUES (1, 'new'), (2, 'new'), (3, 'new');
GRANT ALL ON watched TO PUBLIC;
CREATE FUNCTION tell_of_order() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_notify('orders changed', NEW.id::text); RETURN NEW; END $$;
CREATE TRIGGER tell AFTER UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION tell_of_order();
"""


@pytest.fixture
def orders(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A table whose trigger tells of its changes."""
    with psycopg.connect(postgres_server.admin_url, autocommit=True) as admin:
        admin.execute(TABLE)
        yield postgres_server
        admin.execute("DROP TABLE watched; DROP FUNCTION tell_of_order")


def config(url: str) -> dict[str, Any]:
    order = {
        "backend": "db",
        "statement": "SELECT state FROM watched WHERE id = :id",
        "arguments": {"id": {"type": "integer"}},
        "effect": "read",
        "resource": "orders://{id}",
        "watch": {"channel": "orders changed", "argument": "id"},
    }
    count = {
        "backend": "db",
        "statement": "SELECT state, count(*) FROM watched GROUP BY state ORDER BY state",
        "effect": "read",
        "resource": "orders:count",
        "watch": {"every_seconds": 0.1},
    }
    nap = {"backend": "db", "statement": "SELECT pg_sleep(:seconds)", "arguments": {"seconds": {"type": "number"}}}
    return {
        "backends": {"db": {"kind": "postgres", "url": url, "pool": {"cap": CAP, "parallel_starts": CAP}}},
        "operations": {"order": order, "count": count, "work": {**nap, "effect": "read"}},
    }


class Listener:
    """A client that listens, and what it has heard."""

    def __init__(self, subscription: Subscription) -> None:
        self.heard: Counter[str] = Counter()
        self._reading = asyncio.create_task(self._read(subscription))

    async def _read(self, subscription: Subscription) -> None:
        async for event in subscription:
            assert isinstance(event, ResourceUpdated)
            self.heard[event.uri] += 1

    def stop(self) -> None:
        self._reading.cancel()


@asynccontextmanager
async def listening(frontend: Frontend, uris: Sequence[str]) -> AsyncIterator[Listener]:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=PATIENCE_SECONDS))
        client = Client(streamable_http_client(frontend.url, http_client=http), mode=MODERN, cache=None)
        await stack.enter_async_context(client)
        subscription = await stack.enter_async_context(client.listen(resource_subscriptions=list(uris)))
        assert subscription.honored.resource_subscriptions == list(uris)
        listener = Listener(subscription)
        try:
            yield listener
        finally:
            listener.stop()


@contextmanager
def programs(folder: Path, url: str) -> Iterator[tuple[Pooler, Frontend, Frontend]]:
    with (
        Pooler(folder, config(url)) as pooler,
        Frontend(pooler.address) as one,
        Frontend(pooler.address) as other,
    ):
        yield pooler, one, other


def update(server: PostgresServer, order: int, state: str) -> None:
    server.run_as_owner(f"UPDATE watched SET state = '{state}' WHERE id = {order}")


@pytest.mark.promise(1, 4)
async def test_what_a_trigger_says_reaches_the_clients_of_two_frontends_over_one_connection(
    tmp_path: Path, orders: PostgresServer
) -> None:
    with role(orders) as url, programs(tmp_path, url) as (_, one, other):
        async with listening(one, [*URIS, "orders:count"]) as ann, listening(other, URIS[1:]) as bob:
            assert orders.ask(LISTENERS, ROLE) == 1
            update(orders, 3, "new")  # nobody's, and changes no count
            update(orders, 1, "paid")
            update(orders, 2, "paid")
            await eventually(lambda: bob.heard["orders://2"] == 1 and ann.heard.keys() == {*URIS, "orders:count"})
            assert ann.heard["orders://1"] == ann.heard["orders://2"] == 1
            assert bob.heard == {"orders://2": 1}
            one.kill()
            update(orders, 2, "sent")
            await eventually(lambda: bob.heard["orders://2"] == 2)
        await eventually(lambda: orders.ask(LISTENERS, ROLE) == 0)


@pytest.mark.promise(1, 4)
async def test_a_listening_connection_that_is_terminated_under_load_is_taken_anew_inside_the_cap_and_told_of_once(
    tmp_path: Path, orders: PostgresServer
) -> None:
    with role(orders) as url, sampled(orders) as sampler, programs(tmp_path, url) as (pooler, one, other):
        async with (
            listening(one, URIS) as ann,
            listening(other, URIS[:1]) as bob,
            Load(pooler.address, "work", 2 * CAP, 0.01).running() as load,
        ):
            for number in range(1, 4):
                assert orders.ask(END_LISTENERS, ROLE) == 1
                await eventually(lambda number=number: (ann.heard.total(), bob.heard.total()) == (2 * number, number))  # type: ignore[misc]
                await eventually(lambda: orders.ask(LISTENERS, ROLE) == 1)
            before = ann.heard["orders://2"]
            update(orders, 2, "paid")
            await eventually(lambda: ann.heard["orders://2"] == before + 1)
            await load.more(50)
            assert ann.heard == {"orders://1": 3, "orders://2": 4}
            assert bob.heard == {"orders://1": 3}
        assert load.heard.keys() == {"OK"}
    assert sampler.peak == CAP
    assert orders.ask(LISTED, ROLE) == 0


async def test_a_restarted_pooler_is_listened_with_again_and_every_client_told_once(
    tmp_path: Path, orders: PostgresServer
) -> None:
    with role(orders) as url, Pooler(tmp_path, config(url)) as pooler, Frontend(pooler.address) as frontend:
        async with listening(frontend, URIS) as ann:
            pooler.kill()
            again = {**config(url), "pooler": {"listen": pooler.address}}
            with Pooler(tmp_path, again):
                await eventually(lambda: ann.heard == {"orders://1": 1, "orders://2": 1})
                update(orders, 2, "paid")
                await eventually(lambda: ann.heard["orders://2"] == 2)
                assert ann.heard["orders://1"] == 1
