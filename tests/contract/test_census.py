"""What a backend says of the connections of a pooler that was killed: every kind whose orphans are `listed`."""

import asyncio

import pytest

from pooler.backends.base import Connection, FailureKind, Tag
from pooler.backends.postgres import connection as postgres
from pooler.backends.sqlalchemy import mysql_census
from tests.contract.subject import Subject, eventually
from tests.contract.subjects.postgres import PostgresSubject
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

CONNECTION = Tag("killed", "subject", 1)


async def ask(subject: Subject, asker: Connection, *left: Connection) -> dict[Tag, bool]:
    """Asks after these, as the hands would: over a connection, or over the reserve."""
    adapter = subject.adapter
    notes = {each.tag: each.notes for each in left}
    return dict(await adapter.census(None if adapter.traits.reserve else asker, notes))


@pytest.fixture
async def listing(subject: Subject) -> Subject:
    """A subject whose backend can be asked."""
    if subject.adapter.traits.orphans != "listed":
        pytest.skip("nothing of this kind outlives its pooler where somebody could be asked for it")
    return subject


async def test_a_census_tells_what_lives_from_what_is_gone(listing: Subject) -> None:
    async with listing.opened(3) as asker, listing.opened(1) as living:
        dead = await listing.adapter.open(Tag("contract", "subject", 2))
        notes = dict(dead.notes)
        assert await listing.adapter.close(dead, force=False)
        dead.notes = notes

        assert await ask(listing, asker, living, dead) == {living.tag: True, dead.tag: False}


async def test_a_census_finds_a_connection_at_work_and_in_the_end_none(listing: Subject) -> None:
    async with listing.opened(3) as asker:
        working = await listing.adapter.open(Tag("contract", "subject", 1))
        call = asyncio.ensure_future(listing.run(working, "slow", seconds=600))
        await eventually(1, listing.busy)

        assert await ask(listing, asker, working) == {working.tag: True}

        call.cancel()
        await asyncio.wait({call})
        await listing.adapter.close(working, force=True)
        assert await ask(listing, asker, working) == {working.tag: False}


@pytest.mark.parametrize("subject", ["postgres", "mariadb"], indirect=True)
async def test_a_database_ends_what_its_census_has_found_at_work(subject: Subject) -> None:
    async with subject.opened(3) as asker:
        working = await subject.adapter.open(Tag("contract", "subject", 1))
        call = asyncio.ensure_future(subject.run(working, "slow", seconds=600))
        await eventually(1, subject.busy)

        await ask(subject, asker, working)

        await asyncio.wait({call})
        error = call.exception()
        assert error is not None
        assert subject.adapter.classify(error).kind is FailureKind.DEAD
        await eventually(0, subject.busy)
        assert await ask(subject, asker, working) == {working.tag: False}
        await subject.adapter.close(working, force=True)


@pytest.mark.parametrize("subject", ["postgres"], indirect=True)
async def test_postgresql_lists_and_leaves_alone_what_belongs_to_another_role(
    subject: Subject, postgres_server: PostgresServer
) -> None:
    theirs = await postgres.connect(postgres_server.url_of("limited"), Tag("contract", "subject", 1), watched=True)
    async with subject.opened(3) as asker:
        assert await ask(subject, asker, theirs) == {theirs.tag: True}
        assert await ask(subject, asker, theirs) == {theirs.tag: True}
    await postgres.close(theirs, force=False)


@pytest.mark.parametrize("subject", ["postgres"], indirect=True)
async def test_a_tag_that_is_longer_than_a_name_may_be_is_found_all_the_same(subject: Subject) -> None:
    tags = [Tag("contract", "b" * 64, slot) for slot in (101, 102)]
    assert isinstance(subject, PostgresSubject)
    async with subject.opened(3) as asker:
        living = await subject.adapter.open(tags[0])
        assert await subject.adapter.census(asker, {tag: {} for tag in tags}) == {tags[0]: True, tags[1]: False}
        await subject.adapter.close(living, force=True)


# MariaDB: what proves that a number is still the same connection's


@pytest.mark.parametrize("subject", ["mariadb"], indirect=True)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, {CONNECTION: True}),
        ({"host": "127.0.0.1:1"}, {CONNECTION: False}),
        ({"id": 999_999_999}, {CONNECTION: False}),
        ({"user": "somebody"}, {}),
    ],
    ids=["the same", "another client's port", "another number", "another user"],
)
async def test_over_tcp_a_connection_is_known_by_its_number_and_its_clients_port(
    subject: Subject, change: dict[str, str | int], found: dict[Tag, bool]
) -> None:
    async with subject.opened() as living:
        assert ":" in str(living.notes["host"])
        assert await subject.adapter.census(None, {CONNECTION: {**living.notes, **change}}) == found


@pytest.mark.parametrize(
    ("later", "found"),
    [(0, {CONNECTION: True}), (3600, {})],
    ids=["the server has run all the while", "the server was started again since"],
)
async def test_on_a_local_socket_a_connection_is_known_by_its_number_and_the_servers_start(
    mariadb_server: MariadbServer, later: int, found: dict[Tag, bool]
) -> None:
    with mariadb_server.administrator() as left, mariadb_server.administrator() as asker:
        notes = mysql_census.whereabouts(left)
        assert notes["host"] == "localhost"
        before = {**notes, "since": int(notes["since"]) - later}

        assert mysql_census.census(asker, {CONNECTION: before}) == found


@pytest.mark.parametrize("subject", ["mariadb"], indirect=True)
async def test_a_start_that_was_cut_short_is_one_that_nobody_can_tell_of(subject: Subject) -> None:
    assert await subject.adapter.census(None, {CONNECTION: {}}) == {}
