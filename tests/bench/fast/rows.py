"""The figures as rows of a table: each entry's own, and ours laid beside the peer's of the same run."""

from tests.bench.fast.cases import Case, Entry
from tests.bench.fast.measuring import Measured
from tests.bench.fast.usage import Observer

Row = tuple[str, str, str]


def rows(cases: list[Case], measured: dict[tuple[str, str], Measured], observer: Observer) -> list[Row]:
    """Rows of (what, figure, beside what), in the order of the cases."""
    made = []
    for case in cases:
        peer = measured.get((case.name, case.peer))
        for entry in case.entries:
            figures = measured[case.name, entry.label]
            peak = observer.peak[entry.contender.role]
            beside = _beside(figures, entry, peer, case.peer)
            made.append((f"{case.name}: {entry.label}", f"{_figure(figures)}, ≤ {peak} connections", beside))
    return made


def _figure(figures: Measured) -> str:
    cpu = ", ".join(f"{name} {used:.0f}" for name, used in figures.cpu_us.items())
    speed = f"{figures.calls_per_second:.0f} calls/s, p50 {figures.p50_ms:.1f} ms, p99 {figures.p99_ms:.1f} ms"
    wrong = f"; {figures.wrong} answers not right" if figures.wrong else ""
    return f"{speed}; µs CPU a call: {cpu}; {figures.memory_mib:.0f} MiB{wrong}"


def _beside(figures: Measured, entry: Entry, peer: Measured | None, name: str) -> str:
    if peer is None or peer is figures:
        return ""
    bound = f", bound {entry.bound:g}" if entry.bound else ""
    ratio = figures.calls_per_second / peer.calls_per_second
    return f"{ratio:.2f} × {name}{bound}; its p99 × {figures.p99_ms / peer.p99_ms:.2f}"
