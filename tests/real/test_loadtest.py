"""`penstock loadtest` as a process, against a counting backend whose capacity is known.

Four calls at once, a tenth of a second each: forty a second. The figures must be those that theory says, within bounds
that a busy machine keeps.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pooler.loadtest.result import Result, StepResult, read
from tests.programs import Frontend, Pooler
from tests.real.test_faults import eventually
from tests.servers.counting import CountingServer
from tests.servers.postgres import PostgresServer

PENSTOCK = str(Path(sys.executable).parent / "penstock")
PATIENCE_SECONDS = 90.0
CAP, WORK_SECONDS = 4, 0.1
CAPACITY = CAP / WORK_SECONDS
PATIENT: dict[str, Any] = {"lateness_max_ms": 5000}
"""Of a plan: on a machine that others use as well, a late generator is no reason to fail a test of something else."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A load test that has ended. `out`: what it printed, standard error included."""

    status: int
    out: str
    folder: Path

    @property
    def result(self) -> Result:
        return read(self.folder / "loadtest.json")


def command(folder: Path, *options: str, **plan: Any) -> list[str]:
    """A load test by a plan in a file; its figures and its report go beside that."""
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump(PATIENT | plan), "utf-8")
    return [PENSTOCK, "loadtest", "--plan", str(file), "--out", str(folder / "loadtest"), *options]


def loadtest(folder: Path, *options: str, **plan: Any) -> Ended:
    words = command(folder, *options, **plan)
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    return Ended(done.returncode, done.stdout + done.stderr, folder)


def work(**more: Any) -> list[dict[str, Any]]:
    return [{"operation": "work", "arguments": {"seconds": WORK_SECONDS}, **more}]


def config(address: str, **pool: Any) -> dict[str, Any]:
    operation = {"backend": "legacy", "method": "work", "effect": "read", "timeout_seconds": 20}
    seconds = {"type": "number", "default": 0.01}
    return {
        "backends": {"legacy": {"kind": "simulated", "address": address, "pool": {"cap": CAP, "warm": CAP, **pool}}},
        "operations": {
            "work": {**operation, "arguments": {"seconds": seconds}},
            "write": {"backend": "legacy", "method": "write", "effect": "write", "arguments": {"count": seconds}},
        },
    }


@pytest.fixture
def pooler(counting_server: CountingServer, tmp_path: Path) -> Iterator[Pooler]:
    """A pooler whose connections are all open."""
    with Pooler(tmp_path, config(counting_server.address)) as program:
        counting_server.wait(open=CAP)
        yield program


def failed(step: StepResult) -> int:
    return step.all.calls - step.all.vanished - step.all.good


def test_from_half_the_capacity_to_ten_times_it_the_figures_are_those_of_theory(
    pooler: Pooler, counting_server: CountingServer, tmp_path: Path
) -> None:
    counting_server.forget_peak()
    steps = [{"rate": times * CAPACITY, "seconds": 5} for times in (0.5, 1, 3, 10)]

    ended = loadtest(
        tmp_path,
        target={"pooler": pooler.address},
        steps=steps,
        calls=work(),
        timeout_seconds=2,
        tenants={"shop": {"weight": 3}, "reports": {"weight": 1}},
        expect=["connections<=cap", "goodput{step=1}>0.9"],
    )

    result = ended.result
    half, once, thrice, tenfold = result.steps
    assert ended.status == 0, ended.out
    for step, times in zip(result.steps, (0.5, 1, 3, 10), strict=True):
        # A Poisson process has a spread of the root of its count: four of them.
        expected = times * CAPACITY * 5
        assert step.all.calls == pytest.approx(expected, abs=4 * expected**0.5)
        assert step.parts["work"].p50_ms >= WORK_SECONDS * 1000 * 0.99
    # Below the capacity nearly everybody is served at once; at it, queues come and go.
    assert half.all.goodput > 0.95
    assert half.parts["queue"].p50_ms < WORK_SECONDS * 1000
    # Past it the backend works on without a pause, and who is served has waited nearly as long as he would.
    for step in (thrice, tenfold):
        assert step.all.good_per_second == pytest.approx(CAPACITY, rel=0.25)
        assert step.all.goodput == pytest.approx(CAPACITY / step.all.offered_per_second, rel=0.35)
        assert step.all.latency is not None
        assert step.all.latency.max_ms <= 2000
        assert step.parts["queue"].p50_ms > 500
        assert failed(step) == sum(step.all.outcomes.get(name, 0) for name in step.all.outcomes if name != "GOOD")
    # Those who offer three quarters and those who offer one get the same there: neither asks for less than half.
    got = [figures.good / tenfold.all.good for figures in tenfold.tenants.values()]
    assert got == [pytest.approx(0.5, abs=0.1)] * 2
    # The backend is the oracle of what was seen.
    assert counting_server.peak().count == CAP
    assert max(sample.connections for sample in result.pools) == CAP
    assert max(sample.queued for sample in result.pools) > CAPACITY
    assert once.all.calls == sum(once.all.outcomes.values())
    assert "<figure>" in (tmp_path / "loadtest.html").read_text("utf-8")


@pytest.mark.promise(38)
@pytest.mark.parametrize("by", ["cancel", "drop"])
@pytest.mark.parametrize("wire", ["exchange", "unary"])
def test_callers_who_vanish_leave_nothing_at_work_and_nothing_waiting(
    pooler: Pooler, counting_server: CountingServer, tmp_path: Path, by: str, wire: str
) -> None:
    slow = [{"operation": "work", "arguments": {"seconds": 600}, "timeout_seconds": 600}]
    vanish = {"share": 1, "after_ms": [100, 900], "by": by}

    ended = loadtest(
        tmp_path, target={"pooler": pooler.address, "wire": wire}, steps=[{"rate": 15, "seconds": 3}], calls=slow,
        vanish=vanish,
    )  # fmt: skip

    (step,) = ended.result.steps
    assert step.all.outcomes == {"VANISHED": step.all.calls}
    assert max(sample.in_use for sample in ended.result.pools) == CAP  # they were at work
    counting_server.wait(busy=0, dying=0)
    # Nothing of them is in the way of others.
    others = {"calls": work(), "steps": [{"rate": 20, "seconds": 1}], "expect": ["goodput>0.9"]}
    assert loadtest(tmp_path, target={"pooler": pooler.address}, **others).status == 0


@pytest.mark.parametrize("era", ["2026-07-28", "2025-11-25"])
def test_an_mcp_address_is_called_as_its_clients_do_in_both_eras(
    pooler: Pooler, counting_server: CountingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, era: str
) -> None:
    tokens = [{"token": "the-token-of-the-shop", "tenant": "shop", "principal": "loadtest"}]
    monkeypatch.setenv("LOADTEST_TOKEN", "the-token-of-the-shop")
    with Frontend(pooler.address, tokens=json.dumps(tokens)) as frontend:
        ended = loadtest(
            tmp_path,
            target={"mcp": frontend.url, "era": era, "pooler": pooler.address, "conversations": 3},
            steps=[{"rate": 20, "seconds": 3}],
            calls=[*work(), *work(vanish={"share": 1, "after_ms": 20})],
            tenants={"shop": {"token": "${LOADTEST_TOKEN}"}},
            expect=["goodput>0.9", "connections<=cap"],
        )
        counting_server.wait(busy=0)
        refused = loadtest(tmp_path, target={"mcp": frontend.url, "era": era}, calls=work())

    (step,) = ended.result.steps
    assert ended.status == 0, ended.out
    assert set(step.all.outcomes) == {"GOOD", "VANISHED"}
    assert step.parts["work"].p50_ms == pytest.approx(WORK_SECONDS * 1000, rel=0.5)
    assert step.tenants["shop"].good == step.all.good
    assert refused.status == 3
    kept = "".join(path.read_text("utf-8") for path in (tmp_path / "loadtest.json", tmp_path / "loadtest.html"))
    assert "the-token-of-the-shop" not in kept + ended.out + refused.out


def test_a_search_finds_the_rate_that_the_backend_can_carry(pooler: Pooler, tmp_path: Path) -> None:
    ended = loadtest(
        tmp_path, "--find-limit", target={"pooler": pooler.address}, steps=[{"rate": 10, "seconds": 3}],
        arrivals="even", calls=work(), timeout_seconds=1, expect=["goodput>0.95"],
    )  # fmt: skip

    held = max(step.rate for step in ended.result.steps if step.all.goodput > 0.95)
    assert ended.status == 0, ended.out
    # In three seconds with a second's patience a third more than the capacity gets through.
    assert 0.5 * CAPACITY <= held <= 1.5 * CAPACITY
    assert "the limits hold up to" in ended.out


def test_the_status_tells_a_script_what_came_of_it(pooler: Pooler, tmp_path: Path) -> None:
    target = {"target": {"pooler": pooler.address}, "steps": [{"rate": 20, "seconds": 1}]}
    kept = loadtest(tmp_path, **target, expect=["goodput>0.5"])  # and nothing named: an operation is found
    missed = loadtest(tmp_path, **target, expect=["p50<0.001ms"])
    report = loadtest(tmp_path, "--from", str(tmp_path / "loadtest.json"))
    usage = {
        "no such operation": loadtest(tmp_path, **target, calls=[{"operation": "wrok"}]),
        "a write": loadtest(tmp_path, **target, calls=[{"operation": "write"}]),
        "arguments that do not fit": loadtest(tmp_path, "work", "seconds=soon", **target),
        "no limit": loadtest(tmp_path, "--expect", "fast", **target),
        "no folder": loadtest(tmp_path, "--out", str(tmp_path / "absent" / "name"), **target),
        "over what it is compared with": loadtest(tmp_path, "--compare", str(tmp_path / "loadtest.json"), **target),
    }
    invalid = loadtest(tmp_path, **target, lateness_max_ms=1e-9)
    nobody = loadtest(tmp_path, target={"pooler": "127.0.0.1:1"}, steps=[{"rate": 1, "seconds": 1}])

    assert (kept.status, missed.status, report.status) == (0, 1, 1), (kept.out, missed.out, report.out)
    assert {name: ended.status for name, ended in usage.items()} == dict.fromkeys(usage, 2)
    assert "did you mean 'work'?" in usage["no such operation"].out
    assert (invalid.status, nobody.status) == (3, 3)
    assert "the generator was late in step 1" in invalid.out
    assert "no pooler answers at 127.0.0.1:1" in nobody.out


def test_a_pooler_that_dies_under_load_is_reported_and_not_waited_for(
    pooler: Pooler, counting_server: CountingServer, tmp_path: Path
) -> None:
    words = command(tmp_path, target={"pooler": pooler.address}, steps=[{"rate": 20, "seconds": 4}], calls=work())
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        counting_server.wait(busy=1)
        pooler.kill()
        out, _ = running.communicate(timeout=PATIENCE_SECONDS)

    outcomes = Ended(running.returncode, out, tmp_path).result.steps[0].all.outcomes
    assert running.returncode == 0, out  # nothing was expected of it
    assert outcomes["WAY_BROKEN"] > 20


def test_a_run_that_is_interrupted_still_has_its_report_and_is_not_valid(
    pooler: Pooler, counting_server: CountingServer, tmp_path: Path
) -> None:
    words = command(tmp_path, target={"pooler": pooler.address}, steps=[{"rate": 20, "seconds": 600}], calls=work())
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        counting_server.wait(busy=1)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=PATIENCE_SECONDS)

    assert running.returncode == 3, out
    assert "it was stopped at" in out
    assert Ended(3, out, tmp_path).result.steps[0].all.calls > 0
    counting_server.wait(busy=0)


def test_postgresql_is_asked_for_its_own_count_beside_the_poolers(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = {"backend": "db", "statement": "SELECT pg_sleep(0.05)", "effect": "read", "timeout_seconds": 5}
    pool = {"cap": 3, "parallel_starts": 3}
    own = {
        "backends": {"db": {"kind": "postgres", "url": postgres_server.url, "pool": pool}},
        "operations": {"nap": operation},
    }
    monkeypatch.setenv("OBSERVED", postgres_server.url)
    with Pooler(tmp_path, own) as pooler:
        ended = loadtest(
            tmp_path, target={"pooler": pooler.address}, steps=[{"rate": 200, "seconds": 3}], timeout_seconds=1,
            observe="${OBSERVED}", watch_ms=50, expect=["connections<=cap"],
        )  # fmt: skip
    eventually(
        0, lambda: postgres_server.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'penstock%%'")
    )

    assert ended.status == 0, ended.out
    assert max(sample.connections for sample in ended.result.seen if sample.backend == "db") == 3
    assert "by the database's own count 3" in ended.out
    assert postgres_server.url not in ended.out + (tmp_path / "loadtest.json").read_text("utf-8")


def test_two_runs_are_compared_on_the_terminal_and_in_the_report(pooler: Pooler, tmp_path: Path) -> None:
    target = {"target": {"pooler": pooler.address}, "steps": [{"rate": 20, "seconds": 2}], "arrivals": "even"}
    loadtest(tmp_path, **target, calls=work())
    before = tmp_path / "before.json"
    (tmp_path / "loadtest.json").rename(before)

    ended = loadtest(tmp_path, "--compare", str(before), **target, calls=[{"operation": "work"}])

    assert ended.status == 0, ended.out
    (line,) = [line for line in ended.out.splitlines() if "work, mean" in line]
    assert "-" in line.split()[-1]
    assert "better" in (tmp_path / "loadtest.html").read_text("utf-8").partition("Compared")[2]
