"""The short way and the other one cannot be told apart: the same requests, sent to both, have the same answers."""

import json
import os
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.interaction.differential.calls import all_calls
from tests.interaction.differential.case import ERAS, Case
from tests.interaction.differential.framing import all_framing
from tests.interaction.differential.generated import cases
from tests.interaction.differential.headers import all_headers
from tests.interaction.differential.known import KNOWN, PASSED_OVER
from tests.interaction.differential.messages import all_messages
from tests.interaction.differential.pair import Outcome, Pair, compared, pairs
from tests.interaction.differential.request import Json

SOAK = os.environ.get("PENSTOCK_PROFILE") == "soak"
"""`PENSTOCK_PROFILE=soak pytest --timeout 0 tests/interaction/test_hot_and_slow.py`: a hundred thousand requests."""

ROUNDS = 20 if SOAK else 1
"""Hypothesis remembers all that a round has tried, so that one of them has its bound."""

PROFILE = settings(
    max_examples=5000 if SOAK else 400,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
pytestmark = pytest.mark.anyio

CORPUS = {"calls": all_calls(), "headers": all_headers(), "messages": all_messages(), "framing": all_framing()}


@pytest.fixture(scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Pair]]:
    async with pairs(tmp_path_factory.mktemp("pairs")) as made:
        yield made


@pytest.mark.parametrize("family", CORPUS)
async def test_every_request_is_answered_alike_on_both_ways(both: dict[str, Pair], family: str) -> None:
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for case in CORPUS[family]:
        for name in case.settings:
            hot, slow = await both[name].send(case)
            if unlike := [*compared(hot, slow), *misled(case, hot)]:
                found.setdefault(case.name, []).append((name, unlike))
    known = {case.name for case in CORPUS[family]} & KNOWN.keys()
    assert {name: unlike for name, unlike in found.items() if name not in known} == {}
    mended = known - found.keys()
    assert mended == set(), "taken out of `known.py`, this is kept"


@pytest.mark.parametrize("family", ["calls", "messages"])
async def test_the_short_way_under_somebody_elses_server_answers_alike_too(both: dict[str, Pair], family: str) -> None:
    found, hot_ones = {}, 0
    for case in CORPUS[family]:
        if "open" in case.settings and case.name.startswith("modern") and case.name not in KNOWN:
            hot, slow = await both["foreign"].send(case)
            hot_ones += hot.hot
            if unlike := compared(hot, slow):
                found[case.name] = unlike
    assert found == {}
    assert hot_ones > 20


@pytest.mark.parametrize("era", sorted(ERAS))
async def test_the_next_page_is_the_same_on_both_ways(both: dict[str, Pair], era: str) -> None:
    pages = []
    for way in (both["open"].hot, both["open"].slow):
        first = await way.send(Case("first", (ERAS[era]("rows", {"count": 50}).raw(),)))
        rest = {"count": 50, "cursor": response(first)["result"]["structuredContent"]["next_cursor"]}
        pages.append(await way.send(Case("next", (ERAS[era]("rows", rest).raw(),))))
    assert compared(*pages) == []
    assert response(pages[0])["result"]["structuredContent"]["rows"][0] == [20, "row 20"]
    assert pages[0].hot == (era != "conversation")


@pytest.mark.parametrize("era", sorted(ERAS))
async def test_calls_in_a_session_are_the_same_on_both_ways(both: dict[str, Pair], era: str) -> None:
    calls: list[list[Outcome]] = []
    for way in (both["open"].hot, both["open"].slow):
        begun = await way.send(Case("begin", (ERAS[era]("sim_begin").raw(),)))
        session = {"session": response(begun)["result"]["structuredContent"]["session"]}
        names = ["write", "wrong", "sim_commit", "sim_rollback", "echo"]
        requests = [ERAS[era](name, session | ({"value": "x"} if name == "echo" else {})) for name in ["echo", *names]]
        calls.append([begun, *[await way.send(Case("in it", (request.raw(),))) for request in requests]])
    assert [compared(*each) for each in zip(*calls, strict=True)] == [[]] * 7
    failed = ["isError" in response(each)["result"] for each in calls[0]]
    # What fails takes its transaction along, which then can only be rolled back.
    assert failed == [False, False, False, True, True, False, True]


def response(outcome: Outcome) -> Json:
    """The response, in whichever form it came."""
    body = outcome.heard.answers[0].body
    found: Json = json.loads(body.split(b"\r\n\r\n")[-2].rpartition(b"data: ")[2] if b"data: " in body else body)
    return found


def misled(case: Case, hot: Outcome) -> list[str]:
    """Whether what came the short way is what has to, and nothing else."""
    if case.hot is None or hot.hot == case.hot:
        return []
    return [f"{hot.hot} answers came the short way, where {case.hot} had to"]


@pytest.mark.parametrize("number", range(ROUNDS))
@settings(PROFILE)
@given(case=cases())
async def test_requests_made_by_chance_are_answered_alike_on_both_ways(
    both: dict[str, Pair], number: int, case: Case
) -> None:
    assume(not any(each in piece for each in PASSED_OVER for piece in case.pieces))
    hot, slow = await both[case.settings[0]].send(case)
    assert compared(hot, slow) == []


def test_no_two_requests_of_the_corpus_have_the_same_name() -> None:
    names = Counter(f"{family}: {case.name}" for family, cases in CORPUS.items() for case in cases)
    assert KNOWN.keys() <= {case.name for cases in CORPUS.values() for case in cases}
    twice = [name for name, count in names.items() if count > 1]
    assert twice == []
