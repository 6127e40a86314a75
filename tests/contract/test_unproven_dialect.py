"""Large results and transactions on a dialect that nobody has proven: what a driver by the book does, and no more.

Here it is PostgreSQL by SQLAlchemy's own dialect, of which this kind of backend knows nothing.
"""

from collections.abc import AsyncIterator

import pytest

from pooler.backends.base import FailureKind, Tag
from pooler.backends.sqlalchemy.adapter import build
from pooler.backends.sqlalchemy.settings import Settings
from tests.contract.sql import Session
from tests.contract.windows import Reader
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def plain(postgres_server: PostgresServer) -> AsyncIterator[Session]:
    postgres_server.run_as_owner("DROP TABLE IF EXISTS things")
    postgres_server.run_as_owner("CREATE TABLE things (id int, name text)")
    url = postgres_server.url.replace("postgresql:", "postgresql+psycopg:")
    adapter = build(Settings.model_validate({"url": url}))
    connection = await adapter.open(Tag("contract", "unproven", 1))
    yield Session(adapter, connection)
    await adapter.close(connection, force=False)


def kept(server: PostgresServer) -> int:
    return server.ask("SELECT count(*) FROM things")


async def test_rows_come_in_batches_and_may_be_left_in_the_middle(plain: Session) -> None:
    whole, part = Reader(batch_rows=100), Reader(batch_rows=100, rows_max=250)
    await plain.read("SELECT n FROM generate_series(1, 1000) AS n", whole)
    assert (len(whole.rows), whole.more) == (1000, False)
    await plain.read("SELECT n FROM generate_series(1, 1000000) AS n", part)
    assert (part.rows, part.more) == (whole.rows[:300], True)
    assert await plain.value("SELECT 'mine'") == "mine"


@pytest.mark.promise(20)
async def test_a_transaction_is_committed_or_rolled_back_as_a_whole(
    plain: Session, postgres_server: PostgresServer
) -> None:
    for end, expected in ((plain.adapter.rollback, 0), (plain.adapter.commit, 2)):
        await plain.adapter.begin(plain.connection)
        for number in (1, 2):
            await plain.part("INSERT INTO things VALUES (:number, 'a')", "write", number=number)
        assert kept(postgres_server) == 0
        await end(plain.connection)
        assert (kept(postgres_server), plain.connection.transaction) == (expected, "none")


@pytest.mark.promise(20)
async def test_after_a_failure_only_the_end_of_the_transaction_is_possible(
    plain: Session, postgres_server: PostgresServer
) -> None:
    await plain.adapter.begin(plain.connection)
    await plain.part("INSERT INTO things VALUES (1, 'a')", "write")
    assert await plain.failed_part("SELECT * FROM nowhere") == (FailureKind.USER_ERROR, "failed")
    with pytest.raises(Exception, match="has failed: roll it back"):
        await plain.adapter.commit(plain.connection)
    await plain.adapter.rollback(plain.connection)
    assert kept(postgres_server) == 0
    assert await plain.value("SELECT 'mine'") == "mine"


@pytest.mark.promise(20)
async def test_what_a_session_left_open_is_gone_with_its_connection(
    plain: Session, postgres_server: PostgresServer
) -> None:
    await plain.adapter.begin(plain.connection)
    await plain.part("INSERT INTO things VALUES (1, 'a')", "write")
    await plain.adapter.reset(plain.connection)
    assert kept(postgres_server) == 0
