"""Limits of a load test: how they are written, and when they count as kept."""

import re

import pytest

from pooler.loadtest.calls import Arrival
from pooler.loadtest.limits import parse
from pooler.loadtest.plan import Step
from pooler.loadtest.result import PoolSample, SeenSample
from pooler.loadtest.tally import Tally
from pooler.loadtest.verdicts import judge
from pooler.service.load import LoadAnswer

FAILED = LoadAnswer("QUEUE_FULL")


def good(work=0.0):
    return LoadAnswer("GOOD", 0.01, 0.0, 0.0, work, timed=True)


def steps(*latencies_of_steps, failed=0):
    """Steps of ten seconds, each with calls of these latencies, and so many that failed."""
    tally = Tally(100)
    for index, latencies in enumerate(latencies_of_steps):
        tally.step(Step(rate=10, seconds=10), index * 10.0)
        for number, latency in enumerate(latencies):
            tenant = "shop" if number % 4 else "reports"
            call = Arrival(index * 10.0 + 1, index, "work", b"{}", tenant, False, 5.0)
            tally.sent(call, 0.001)
            tally.answered(call, good(latency / 2), call.at + latency)
        for _ in range(failed):
            call = Arrival(index * 10.0 + 1, index, "work", b"{}", "shop", False, 5.0)
            tally.sent(call, 0.0)
            tally.answered(call, FAILED, call.at + 0.001)
    return tally.steps()


def verdict(limit, *args, **kwargs):
    pools, seen = kwargs.pop("pools", []), kwargs.pop("seen", [])
    (only,) = judge([limit], steps(*args, **kwargs), pools, seen)
    return only


def sample(in_use, *, idle=0, queued=0, backend="db", cap=4):
    return PoolSample(at_s=1, backend=backend, cap=cap, starting=0, idle=idle, in_use=in_use, ending=0, queued=queued)


@pytest.mark.parametrize(
    ("text", "value", "operator"),
    [
        ("p99<250ms", 250.0, "<"),
        ("p99.9 <= 1.5s", 1500.0, "<="),
        ("goodput>90%", 0.9, ">"),
        ("goodput_rate>=50/s", 50.0, ">="),
    ],
)
def test_values_are_read_in_their_units(text, value, operator):
    limit = parse(text)

    assert (limit.value, limit.operator) == (pytest.approx(value), operator)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fast", "write METRIC<VALUE"),
        ("p99<250", "it takes 250ms or 1.5s"),
        ("goodput>2", "a share is at most 1"),
        ("godput>0.9", "did you mean 'goodput'?"),
        ("p99{step=0}<1s", "a whole number from 1 on"),
        ("p99{tenant}<1s", "key=value pairs"),
        ("share>0.5", "it needs {tenant=…}"),
        ("within>0.5", "it needs {ms=…}"),
        ("goodput{reason=X}>0.5", "it cannot be narrowed by 'reason'"),
        ("queue_p99{tenant=a}<1s", "it cannot be narrowed by 'tenant'"),
        ("p99{tenant=a,operation=b}<1s", "not by both"),
        ("p99<cap", "does not fit"),
    ],
)
def test_a_line_that_is_no_limit_is_told_how_it_is_written(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        parse(text)


def test_a_limit_holds_for_every_step_and_names_the_worst():
    missed = verdict("p50<50ms", [0.01] * 10, [0.1] * 10)

    assert (missed.kept, missed.where) == (False, "step 2")
    assert missed.value == pytest.approx(100, rel=0.01)
    assert verdict("p50{step=1}<50ms", [0.01] * 10, [0.1] * 10).kept
    assert not verdict("p50{step=7}<50ms", [0.01] * 10).kept


def test_goodput_and_errors_are_shares_of_the_calls_whose_callers_waited():
    assert verdict("goodput>=0.8", [0.01] * 8, failed=2).value == pytest.approx(0.8)
    assert verdict("errors<=20%", [0.01] * 8, failed=2).kept
    assert not verdict("errors{reason=QUEUE_FULL}<20%", [0.01] * 8, failed=2).kept
    assert verdict("errors{reason=SHED}<1%", [0.01] * 8, failed=2).value == 0.0


def test_within_counts_every_call_and_not_only_the_good_ones():
    assert verdict("within{ms=50}>0.5", [0.01] * 5 + [0.1] * 3, failed=2).value == pytest.approx(0.5)
    assert verdict("within{ms=200}>0.5", [0.01] * 5 + [0.1] * 3, failed=2).value == pytest.approx(0.8)


def test_tenants_and_parts_have_limits_of_their_own():
    assert verdict("share{tenant=reports}>0.2", [0.01] * 8).value == pytest.approx(0.25)
    assert verdict("work_p99<6ms", [0.01] * 8).kept
    assert not verdict("work_p99<4ms", [0.01] * 8).kept
    assert not verdict("goodput{tenant=nobody}>0", [0.01] * 8).kept


def test_what_could_not_be_measured_was_not_kept():
    missed = verdict("p99<1s", [], failed=3)

    assert (missed.kept, missed.value) == (False, None)
    assert not verdict("connections<=cap", [0.01]).kept


def test_connections_are_judged_by_every_look_and_by_the_databases_own_count():
    within = [sample(3), sample(2, idle=2, queued=9)]
    one_too_many = [SeenSample(at_s=1, backend="db", connections=5)]

    assert verdict("connections<=cap", [0.01], pools=within).value == 4
    assert verdict("connections<=cap", [0.01], pools=within).kept
    assert not verdict("connections<=cap", [0.01], pools=within, seen=one_too_many).kept
    assert not verdict("connections{backend=db}<4", [0.01], pools=within).kept
    assert verdict("queued{backend=db}<10", [0.01], pools=within).value == 9
