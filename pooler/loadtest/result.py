"""What a run has come to: plain figures, as they stand in the JSON file and as a report reads them.

Its form has a number. A file of another form is refused with both numbers, never half read. No secret is in it: a plan
is shown without tokens and addresses of databases.
"""

from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from pooler.loadtest.limits import Unit

FORM = "penstock-loadtest/1"


class _Record(BaseModel, frozen=True, extra="ignore"):
    """A part of a result. A later version may add keys, and an earlier one still reads the rest."""


class Distribution(_Record, frozen=True):
    """Times, from an HdrHistogram of microseconds with three digits. All in milliseconds."""

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    spectrum: list[tuple[float, float]]
    """Percentile (0 to 100) and value, from coarse to fine: a curve."""
    hdr: str
    """The histogram itself, compressed and in base64, as every HdrHistogram library reads it."""


class Figures(_Record, frozen=True):
    """What became of some calls. A rate is per second of their step."""

    calls: int
    vanished: int
    """Callers who left on purpose before their answer. They count in `calls` alone."""
    good: int
    """Answered well, and in time from the moment each was due."""
    goodput: float
    """`good` among the calls whose callers waited; 0 to 1."""
    good_per_second: float
    """Good answers that came while the step lasted, to calls of steps before too: what the system did in that time."""
    offered_per_second: float
    outcomes: dict[str, int]
    """GOOD, VANISHED, LATE, a reason of the wire, or what the generator saw of a broken way."""
    shared: dict[str, int] = {}
    """Of the good answers of operations whose answers are shared: hit, stale, joined, miss."""
    latency: Distribution | None
    """Of the good answers, from the moment each call was due."""
    failing: Distribution | None
    """How long the others took to fail."""


class StepResult(_Record, frozen=True):
    """One step. Calls belong to the step in which they were due, whenever they were answered."""

    number: int
    rate: float
    to: float
    begins_s: float
    seconds: float
    judged: bool
    all: Figures
    tenants: dict[str, Figures]
    operations: dict[str, Figures]
    parts: dict[str, Distribution]
    """queue, start, reset, work, elsewhere: of the good answers whose times were told."""
    lateness: Distribution | None
    """How late the generator itself sent its calls."""


class Moment(_Record, frozen=True):
    """A slice of the run's time, `seconds` long."""

    at_s: float
    seconds: float
    due: int
    good: int
    """Answers that came in it, by what they were."""
    failed: int
    vanished: int
    under_way: int
    """Calls without an answer at its end."""
    p50_ms: float | None
    p99_ms: float | None
    """Of the good answers to calls that were due in it."""


class PoolSample(_Record, frozen=True):
    """A backend at a moment, as its pooler says."""

    at_s: float
    backend: str
    cap: int
    starting: int
    idle: int
    in_use: int
    ending: int
    """Draining, resetting and closing: each still holds a slot."""
    queued: int

    @property
    def connections(self) -> int:
        """All that count in the cap."""
        return self.starting + self.idle + self.in_use + self.ending


class SeenSample(_Record, frozen=True):
    """Connections of a backend at a moment, as the database itself counts them."""

    at_s: float
    backend: str
    connections: int


class Verdict(_Record, frozen=True):
    """Whether a limit was kept, and by which value where."""

    limit: str
    kept: bool
    value: float | None
    """The worst that was measured; None: there was nothing to measure."""
    unit: Unit
    where: str


class Result(_Record, frozen=True):
    """A whole run."""

    form: str = FORM
    penstock: str
    started_at: str
    """UTC, ISO 8601."""
    target: str
    wire: str
    plan: dict[str, Any]
    seconds: float
    """From the first moment to the last answer."""
    steps: list[StepResult]
    moments: list[Moment]
    pools: list[PoolSample]
    seen: list[SeenSample]
    generator_cpu: float
    """CPU seconds that the generator used for each second of the run."""
    invalid: list[str]
    """Why the figures are not to be trusted; empty for a valid run."""
    notes: list[str]
    verdicts: list[Verdict]

    @property
    def kept(self) -> bool:
        """Whether every limit was."""
        return all(verdict.kept for verdict in self.verdicts)


class ResultError(Exception):
    """A file that is no result; the message says which, why, and what to do."""


def write(result: Result, file: Path) -> None:
    """As indented JSON."""
    file.write_bytes(orjson.dumps(result.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n")


def read(file: Path) -> Result:
    """A result that was written before. Raises ResultError."""
    try:
        data = orjson.loads(file.read_bytes())
        form = data.get("form") if isinstance(data, dict) else None
        if form != FORM:
            raise ResultError(f"{file} has the form {form!r}, not {FORM!r}; make it anew with this version")
        return Result.model_validate(data)
    except OSError as error:
        raise ResultError(
            f"{file} cannot be read: {error.strerror}; name a JSON file that a load test wrote"
        ) from error
    except orjson.JSONDecodeError as error:
        raise ResultError(f"{file} is no JSON: {error}; name a JSON file that a load test wrote") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ResultError(f"{file} is damaged at {place}: {first['msg']}; run the load test again") from error
