"""How a frontend follows what lives behind a pooler: runs, conversations and watches, over a way that breaks."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from frontend.auth import Caller
from frontend.errors import PoolerError
from frontend.events import (
    Accepted,
    Answer,
    Conversation,
    Done,
    Log,
    LogLevel,
    Progress,
    Queued,
    ResourceChanged,
    RunEvent,
    RunStatus,
    Starting,
    Subscribe,
    Watched,
)
from frontend.operations import Operation
from frontend.pooler_client import Call, PoolerClient, Terms
from protos.penstock.v1 import pooler_pb2 as pb
from tests.interaction.line import PATIENCE_SECONDS, eventually
from tests.interaction.scripted_pooler import (
    BREAK,
    Refusal,
    ScriptedPooler,
    accepted,
    done,
    page,
    progress,
    queued,
    scripted,
)

pytestmark = pytest.mark.anyio

CALLER = Caller("shop", "assistant")
READ = Operation("look", reads=True)
WRITE = Operation("change")


def call(operation: Operation = READ, seconds: float = PATIENCE_SECONDS) -> Call:
    return Call(operation, b"{}", CALLER, timeout_seconds=seconds, request_id="r")


@pytest.fixture
async def line() -> AsyncIterator[tuple[ScriptedPooler, PoolerClient]]:
    async with scripted() as (pooler, address):
        client = PoolerClient(address, CALLER, calls_max=2, result_bytes_max=65_536)
        client.start(lambda offer: None)
        yield pooler, client
        await client.close()


Line = tuple[ScriptedPooler, PoolerClient]


async def events(client: PoolerClient, the_call: Call) -> list[RunEvent]:
    async with aclosing(client.runs.run(the_call)) as run:
        return [event async for event in run]


async def failure(client: PoolerClient, the_call: Call) -> PoolerError:
    with pytest.raises(PoolerError) as caught:
        await events(client, the_call)
    return caught.value


async def test_a_run_tells_its_events_as_they_are(line: Line):
    pooler, client = line
    pooler.say(
        "Run",
        accepted(),
        queued(2, 3, 5),
        pb.RunEvent(seq=3, starting=pb.RunStarting(remaining_ms=12_000)),
        progress(4, 10, 40, "ten of forty"),
        progress(5, 11),
        pb.RunEvent(seq=6, log=pb.RunLog(level="info", logger="loans", data=b'"hello"')),
        done(7),
    )
    told = [event.what for event in await events(client, call())]
    assert told[:-1] == [
        Accepted("run-1", "r1", b"note"),
        Queued(3, 5),
        Starting(12_000),
        Progress(10, 40, "ten of forty"),
        Progress(11, None, ""),
        Log("info", "loans", b'"hello"'),
    ]
    assert isinstance(told[-1], Done)
    assert told[-1].error is None


async def test_a_run_is_asked_for_on_its_terms(line: Line):
    pooler, client = line
    pooler.say("Run", accepted(), done(2))
    terms = Terms(detach_grace_ms=-1, await_input=True, keep_ms=5, note=b"n", request_key="k")
    async with aclosing(client.runs.run(call(), terms)) as run:
        assert [event.seq async for event in run] == [1, 2]
    [request] = pooler.heard_of(pb.RunRequest)
    assert (request.detach_grace_ms, request.await_input, request.keep_ms) == (-1, True, 5)
    assert (request.note, request.request_key, request.call.operation) == (b"n", "k", "look")
    assert request.call.context.tenant == "shop"
    assert 0 < request.call.context.timeout_ms <= PATIENCE_SECONDS * 1000


@pytest.mark.parametrize("operation", [READ, WRITE], ids=["read", "write"])
async def test_a_stream_that_breaks_is_taken_up_after_its_last_event(line: Line, operation: Operation):
    pooler, client = line
    pooler.say("Run", accepted(), progress(2, 1), BREAK)
    pooler.say("Attach", progress(3, 2), BREAK)
    pooler.say("Attach", page(4), done(5))
    assert [event.seq for event in await events(client, call(operation))] == [1, 2, 3, 4, 5]
    assert [(each.run, each.after) for each in pooler.heard_of(pb.AttachRequest)] == [("run-1", 2), ("run-1", 3)]


async def test_an_event_that_comes_twice_is_told_once(line: Line):
    pooler, client = line
    pooler.say("Run", accepted(), progress(2, 1), BREAK)
    pooler.say("Attach", progress(2, 1), page(3), done(4))
    assert [event.seq for event in await events(client, call())] == [1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(5))
async def test_every_event_is_told_once_and_in_order_wherever_the_way_breaks(line: Line, seed: int):
    pooler, client = line
    chance = random.Random(seed)
    count = 40
    events_of = [accepted(), *(progress(seq, seq) for seq in range(2, count - 1)), page(count - 1), done(count)]
    at, method = 0, "Run"
    while at < count:
        until = min(at + chance.randint(0 if at else 1, 12), count)
        again = chance.randint(0, min(at, 3))
        pooler.say(method, *events_of[at - again : until], *([BREAK] if until < count else []))
        at, method = until, "Attach"
    assert [event.seq for event in await events(client, call(WRITE))] == list(range(1, count + 1))


async def test_events_that_end_before_the_run_are_a_break(line: Line):
    pooler, client = line
    pooler.say("Run", accepted())
    pooler.say("Attach", page(2), done(3))
    assert [event.seq for event in await events(client, call())] == [1, 2, 3]


async def test_a_kind_of_event_that_nobody_here_knows_is_passed_over(line: Line):
    pooler, client = line
    pooler.say("Run", accepted(), pb.RunEvent(seq=2), page(3), done(4))
    assert [event.seq for event in await events(client, call())] == [1, 3, 4]


async def test_what_is_refused_before_it_is_a_run_fails_in_the_poolers_own_words(line: Line):
    pooler, client = line
    pooler.say("Run", Refusal("QUEUE_FULL", 8, "100 calls wait already."))
    error = await failure(client, call())
    assert (error.reason, error.message) == ("QUEUE_FULL", "100 calls wait already.")


async def test_a_read_that_breaks_before_it_is_a_run_is_begun_again(line: Line):
    pooler, client = line
    pooler.say("Run", BREAK)
    pooler.say("Run", accepted(), done(2))
    assert [event.seq for event in await events(client, call())] == [1, 2]
    assert len(pooler.heard_of(pb.RunRequest)) == 2


async def test_a_write_that_breaks_before_it_is_a_run_is_not_begun_again(line: Line):
    pooler, client = line
    pooler.say("Run", BREAK)
    error = await failure(client, call(WRITE))
    assert error.reason == "OUTCOME_UNKNOWN"
    assert len(pooler.heard_of(pb.RunRequest)) == 1


async def test_a_pooler_that_goes_away_before_it_began_anything_is_asked_again(line: Line):
    pooler, client = line
    pooler.say("Run", Refusal("DRAINING", 14, "This pooler is stopping."))
    pooler.say("Run", accepted(), done(2))
    assert [event.seq for event in await events(client, call(WRITE))] == [1, 2]


@pytest.mark.parametrize(
    ("operation", "reason", "advice"),
    [(READ, "HANDLE_LOST", "may safely be repeated"), (WRITE, "OUTCOME_UNKNOWN", "Look before repeating")],
    ids=["read", "write"],
)
async def test_a_run_whose_pooler_has_gone_is_said_to_be_lost(
    line: Line, operation: Operation, reason: str, advice: str
):
    pooler, client = line
    pooler.say("Run", accepted(), BREAK)
    pooler.say("Attach", Refusal("HANDLE_LOST", 14, "The pooler that held it has gone."))
    error = await failure(client, call(operation))
    assert error.reason == reason
    assert advice in error.message


@pytest.mark.parametrize(("operation", "reason"), [(READ, "POOLER_AWAY"), (WRITE, "OUTCOME_UNKNOWN")], ids=["r", "w"])
async def test_a_run_that_its_break_has_cancelled_is_no_cancel_of_its_callers(
    line: Line, operation: Operation, reason: str
):
    pooler, client = line
    pooler.say("Run", accepted(), BREAK)
    pooler.say("Attach", done(2, "CANCELLED", 1, "The caller left."))
    told = (await events(client, call(operation)))[-1].what
    assert isinstance(told, Done)
    assert told.error is not None
    assert told.error.reason == reason


async def test_a_cancel_that_was_asked_for_stays_one(line: Line):
    pooler, client = line
    pooler.say("Run", accepted(), done(2, "CANCELLED", 1, "Cancelled."))
    told = (await events(client, call(WRITE)))[-1].what
    assert isinstance(told, Done)
    assert told.error is not None
    assert told.error.reason == "CANCELLED"


async def test_whoever_stops_following_is_heard_by_the_pooler(line: Line):
    pooler, client = line
    pooler.say("Run", accepted(), asyncio.Event())
    async with aclosing(client.runs.run(call())) as run:
        assert (await anext(run)).seq == 1
    async with asyncio.timeout(PATIENCE_SECONDS):
        await pooler.left.wait()


async def test_silence_after_the_calls_time_ends_it(line: Line, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("frontend.pooler_client.runs.SILENCE_SECONDS", 0.05)
    pooler, client = line
    pooler.say("Run", accepted(), asyncio.Event())
    assert (await failure(client, call(WRITE, seconds=0.05))).reason == "OUTCOME_UNKNOWN"


async def test_one_run_too_many_is_refused_here(line: Line):
    pooler, client = line
    for _ in range(2):
        pooler.say("Run", accepted(), asyncio.Event())
    async with aclosing(client.runs.run(call())) as one, aclosing(client.runs.run(call())) as two:
        assert (await anext(one)).seq == (await anext(two)).seq == 1
        assert (await failure(client, call())).reason == "TOO_MANY_CALLS"
    pooler.say("Run", accepted(), done(2))
    assert len(await events(client, call())) == 2


async def test_a_result_beyond_this_frontends_bound_is_refused(line: Line):
    pooler, client = line
    pooler.say("Run", accepted(), page(2, b'"' + 65_536 * b"x" + b'"'), done(3))
    assert (await failure(client, call())).reason == "RESULT_TOO_LARGE"


async def test_a_run_is_followed_by_its_handle_alone(line: Line):
    pooler, client = line
    pooler.say("Attach", BREAK)
    pooler.say("Attach", progress(4, 1), BREAK)
    pooler.say("Attach", page(5), done(6))
    async with aclosing(client.runs.attach(CALLER, "run-9", after=3)) as run:
        assert [event.seq async for event in run] == [4, 5, 6]
    assert [(each.run, each.after) for each in pooler.heard_of(pb.AttachRequest)] == [
        ("run-9", 3),
        ("run-9", 3),
        ("run-9", 4),
    ]


async def test_a_handle_that_is_lost_says_so(line: Line):
    pooler, client = line
    pooler.say("Attach", Refusal("HANDLE_LOST", 14, "The pooler that held it has gone."))
    with pytest.raises(PoolerError) as caught:
        await anext(client.runs.attach(CALLER, "run-9"))
    assert (caught.value.reason, caught.value.message) == ("HANDLE_LOST", "The pooler that held it has gone.")


async def test_a_run_says_how_it_stands(line: Line):
    pooler, client = line
    state = pb.RunState(run="run-1", operation="look", status=pb.RUN_STATUS_INPUT_REQUIRED, input_requests=b'{"a":{}}')
    pooler.say("GetRun", state)
    failed = pb.ExchangeError(code=4, reason=pb.REASON_WORK_TIMEOUT, message="Slow.")
    pooler.say("AnswerRun", pb.RunState(run="run-1", status=pb.RUN_STATUS_FAILED, error=failed))
    reply = pb.CallReply(kind=pb.RESULT_KIND_CONTENT, result=b"{}")
    pooler.say("CancelRun", pb.RunState(run="run-1", status=pb.RUN_STATUS_COMPLETED, reply=reply))
    waiting = await client.runs.get(CALLER, "run-1")
    assert (waiting.status, waiting.operation, waiting.input_requests) == (
        RunStatus.INPUT_REQUIRED,
        "look",
        b'{"a":{}}',
    )
    slow = await client.runs.answer(CALLER, "run-1", b'{"a":{"action":"accept"}}')
    assert (slow.status, slow.error.reason) == (RunStatus.FAILED, "WORK_TIMEOUT")
    fine = await client.runs.cancel(CALLER, "run-1")
    assert (fine.status, fine.reply.content) == (RunStatus.COMPLETED, True)
    assert pooler.heard_of(pb.AnswerRunRequest)[0].input_responses == b'{"a":{"action":"accept"}}'


async def test_a_question_is_asked_again_over_a_broken_way(line: Line):
    pooler, client = line
    pooler.say("GetRun", BREAK)
    pooler.say("GetRun", BREAK)
    pooler.say("GetRun", pb.RunState(run="run-1", status=pb.RUN_STATUS_WORKING))
    assert (await client.runs.get(CALLER, "run-1")).status == RunStatus.WORKING


async def test_a_question_that_is_refused_is_asked_once(line: Line):
    pooler, client = line
    pooler.say("GetRun", Refusal("HANDLE_UNKNOWN", 5, "There is no such run."))
    with pytest.raises(PoolerError) as caught:
        await client.runs.get(CALLER, "run-1")
    assert caught.value.reason == "HANDLE_UNKNOWN"
    assert len(pooler.heard_of(pb.GetRunRequest)) == 1


async def test_a_conversation_begins_is_known_and_ends(line: Line):
    pooler, client = line
    told = pb.Conversation(conversation="c-1", note=b"n", log_level="info", idle_ms=7)
    pooler.say("OpenConversation", told)
    pooler.say("GetConversation", told)
    pooler.say("CloseConversation", pb.CloseConversationReply())
    expected = Conversation("c-1", b"n", "info", 7)
    assert await client.conversations.open(CALLER, b"n") == expected
    assert await client.conversations.get(CALLER, "c-1") == expected
    await client.conversations.close(CALLER, "c-1")
    assert pooler.heard_of(pb.CloseConversationRequest)[0].conversation == "c-1"


async def test_what_a_client_says_beside_its_requests_is_delivered(line: Line):
    pooler, client = line
    target = Watched("orders://1", "orders", b'{"id":1}')
    for what in (Answer("r1", "k", b"{}"), LogLevel("debug"), Subscribe(target)):
        pooler.say("Deliver", pb.DeliverReply())
        await client.conversations.deliver(CALLER, "c-1", what)
    answer, level, subscribe = pooler.heard_of(pb.DeliverRequest)
    assert (answer.conversation, answer.context.principal) == ("c-1", "assistant")
    assert (answer.answer.run, answer.answer.key, answer.answer.result) == ("r1", "k", b"{}")
    assert level.log_level.level == "debug"
    assert subscribe.subscribe.target == pb.Watched(uri="orders://1", operation="orders", arguments=b'{"id":1}')


async def test_one_run_of_a_conversation_is_followed_to_its_end(line: Line):
    pooler, client = line
    pooler.say("FollowConversation", pb.ConversationEvent(run=progress(4, 1)), BREAK)
    pooler.say("FollowConversation", pb.ConversationEvent(run=page(5)), pb.ConversationEvent(run=done(6)))
    async with aclosing(client.conversations.follow(CALLER, "c-1", "r1.3")) as followed:
        assert [event.seq async for event in followed] == [4, 5, 6]
    assert [each.after for each in pooler.heard_of(pb.FollowConversationRequest)] == ["r1.3", "r1.4"]


async def test_what_belongs_to_no_run_is_followed_until_the_conversation_ends(line: Line):
    pooler, client = line
    changed = pb.ConversationEvent(resource=pb.ResourceChanged(uri="orders://1"))
    pooler.say("FollowConversation", changed, BREAK)
    pooler.say("FollowConversation", changed)
    async with aclosing(client.conversations.follow(CALLER, "c-1")) as followed:
        assert [event async for event in followed] == 2 * [ResourceChanged("orders://1")]


async def test_after_a_break_every_watched_resource_counts_as_changed(line: Line):
    pooler, client = line
    targets = [Watched("a://", "a"), Watched("b://", "b")]
    pooler.say("Watch", pb.WatchEvent(uri="b://"), BREAK)
    pooler.say("Watch", pb.WatchEvent(uri="b://"), asyncio.Event())
    async with aclosing(client.watches.watch(CALLER, targets)) as watch:
        assert [await anext(watch) for _ in range(4)] == ["b://", "a://", "b://", "b://"]
    await eventually(pooler.left.is_set)


async def test_a_watch_that_is_refused_fails(line: Line):
    pooler, client = line
    pooler.say("Watch", Refusal("OPERATION_NOT_FOUND", 5, "There is no operation 'a'."))
    with pytest.raises(PoolerError) as caught:
        await anext(client.watches.watch(CALLER, [Watched("a://", "a")]))
    assert caught.value.reason == "OPERATION_NOT_FOUND"
