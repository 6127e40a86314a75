"""The contract between the pool's hands and a backend, whatever it is made of.

An adapter knows one kind of old system: how to log in to it, ask it, stop it and tell its errors apart. It decides
nothing about pooling: it keeps no list of connections, starts nothing by itself, retries nothing. `README.md` beside
this file is the recipe for a new one. (Compare the Java Connector Architecture's ManagedConnectionFactory.)

The rules that every adapter keeps, and the contract suite checks:

- `open` either returns a usable connection or raises, and then it has left nothing behind: no process, no session.
- Any awaiting method may be cancelled at any await: `open` in the midst of its own clean-up, too, which therefore runs
  in `pooler.runtime.endings.to_the_end`. After a cancelled `execute` the hands call `cancel`, then `reset`
  or `close`; nothing else happens on the connection in between.
- Never two calls at once on one connection beyond its `streams`.
- `close` returns only when the death of the connection is certain, or says that it could not find out.
- Messages in a `Failure` are the backend's own words without connection strings or secrets.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel


class FailureKind(StrEnum):
    """What an exception, an error reply or a screen meant."""

    LIMIT = "LIMIT"
    """The backend takes no further connection now. No failed request, and no sign of illness."""
    AUTH = "AUTH"
    """The backend does not accept our credentials."""
    DEAD = "DEAD"
    """The connection is gone, or nothing it says can be trusted."""
    SESSION_LOST = "SESSION_LOST"
    """The connection is sound but its login has ended."""
    CANCELLED = "CANCELLED"
    """The backend stopped the work because it was asked to."""
    TIMEOUT = "TIMEOUT"
    """The backend stopped the work by a bound of its own."""
    BUSY_RETRY = "BUSY_RETRY"
    """A lock or a conflict: nothing happened, and a repetition may succeed."""
    USER_ERROR = "USER_ERROR"
    """The request was wrong; the connection is sound."""
    TOO_LARGE = "TOO_LARGE"
    """One row or one value exceeds what a page may hold; the connection is sound."""
    BUG = "BUG"
    """Nobody foresaw this."""


@dataclass(frozen=True, slots=True)
class ProtocolError:
    """An error that a worker wants the MCP client to see as JSON-RPC: `code`, and `data` as JSON or None."""

    code: int
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A classified failure. `message`: plain text for the caller, at most a few hundred characters."""

    kind: FailureKind
    message: str
    protocol: ProtocolError | None = None
    started: bool = True
    """Whether the backend may have seen the request. False lets the hands send even a write once more."""


class BackendError(Exception):
    """A failure that the adapter itself noticed and has already classified."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Verdict(Enum):
    """Whether a connection may serve again."""

    CLEAN = "clean"
    DISCARD = "discard"


Orphans = Literal["none", "processes", "listed", "unlisted"]
Transaction = Literal["none", "open", "failed"]
Notes = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Traits:
    """What the hands must know of an adapter; read once, when the backend is built."""

    io: Literal["async", "thread", "process"]
    affinity: Literal["none", "thread", "process"]
    cancel: Literal["native", "side_channel", "kill"]
    reset: Literal["full", "partial", "none"]
    tx: Literal["none", "local"]
    fate: Literal["shared", "own"]
    """Whether one connection's death says something about the others: a server's connections share its fate,
    worker processes each have their own."""
    orphans: Orphans = "unlisted"
    """What remains of a connection whose pooler was killed: `none`, since it lived in the pooler's own process;
    `processes` of this machine, which its slot file tells of; a server's session, perhaps for a while, of which the
    server can be asked by `census` (`listed`) or nobody (`unlisted`)."""
    orphan_seconds: float | None = None
    """Within how long the server drops such a session by itself, because it watches its sockets. None: nobody knows."""
    identity: Literal["fixed", "rebind", "per_login"] = "fixed"
    streams: int = 1
    """The most requests at once on one connection; a connection may allow fewer (`Connection.streams`)."""

    @property
    def reserve(self) -> int:
        """Slots inside the cap that are kept for side-channel work."""
        return 1 if self.cancel == "side_channel" else 0


class Mark(Protocol):
    """What stands on the disk for a slot as long as anything of its connection may live: see `runtime/slotfiles.py`."""

    descriptor: int
    """Open and locked. A child process that inherits it keeps the lock."""

    def led_by(self, pid: int) -> None:
        """Notes the process that was started for the slot, before it can have been reaped."""

    def closed(self) -> None:
        """Notes that the connection has been closed, and that nobody could find out whether it has died."""


@dataclass(frozen=True, slots=True)
class Tag:
    """Who owns a connection, written where the backend can show it: `penstock/POOLER/BACKEND/SLOT`."""

    pooler: str
    backend: str
    slot: int
    mark: Mark | None = field(default=None, compare=False, repr=False)
    """None where nothing is kept of a slot, as in most tests."""

    def __str__(self) -> str:
        return f"penstock/{self.pooler}/{self.backend}/{self.slot}"


@dataclass(slots=True)
class Connection:
    """One started legacy client. Adapters subclass it; the hands read these fields and nothing else."""

    tag: Tag
    streams: int = 1
    dirty: bool = False
    """Set by the adapter as soon as the next user could notice this one; `reset` clears it."""
    broken: str | None = None
    """Why it can serve no more, where the adapter has noticed without being asked: the hands look while it idles."""
    notes: Notes = field(default_factory=dict)
    """What `census` will need, where the tag is not enough. Read once, when the connection has been opened."""
    transaction: Transaction = "none"
    """What became of the transaction that `begin` opened. Told again after each statement in it, however that ended:
    a backend may end one by itself, or take nothing but its end (`failed`). The adapter sets it, nobody else."""

    def expect_transaction(self) -> None:
        """Raises BackendError when a session's transaction is not open: nothing may run outside it unawares."""
        if self.transaction != "open":
            how = "has failed: roll it back" if self.transaction == "failed" else "is over: begin another one"
            raise BackendError(Failure(FailureKind.USER_ERROR, f"the session's transaction {how}", started=False))


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as configured, before an adapter has prepared it."""

    name: str
    effect: Literal["read", "write"]
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """JSON Schema by argument name."""
    statement: str | None = None
    method: str | None = None
    returns: Mapping[str, Any] | Literal["table", "content", "value"] = "value"
    """What comes back: a table, MCP content, any value, or a value that fits a JSON Schema."""
    share: bool = False
    """Whether its calls, which read, share connections: see `shared.py`. Now and then one is executed all the same."""
    page_rows: int = 200
    page_bytes: int = 262_144
    order_by: Sequence[str] = ()
    """The columns by which it is fetched page by page, each page with a statement of its own: see `by_key.py`."""
    behind: bool = False
    """Of such a one: whether it starts behind a given row, or with the first."""


class Settings(BaseModel, frozen=True, extra="forbid"):
    """What a backend's own part of the configuration has in common: nothing but how to be checked."""

    @property
    def transactional(self) -> bool:
        """Whether a session of it has a transaction: the same as the adapter's trait, for who imports no driver."""
        return False

    @property
    def listens(self) -> bool:
        """Whether the backend tells of changes by itself, on channels: `Adapter.listen`."""
        return False

    @property
    def shares(self) -> bool:
        """Whether operations may `share`: its adapter is a `shared.Adapter`."""
        return False

    def check(self, operation: Operation) -> list[str]:
        """The reasons why this kind cannot serve an operation, as sentences; empty when it can. Starts nothing."""
        raise NotImplementedError

    def check_share(self, operation: Operation) -> list[str]:
        """The same for an operation's `share`."""
        return ["is for backends whose connections carry several calls at once; leave it out"]

    def check_keys(self, operation: Operation) -> list[str]:
        """The same for an operation's `order_by`, which only SQL can go by."""
        return ["is for statements; leave it out"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, for adapters that can tell the backend."""

    tenant: str
    principal: str
    request_id: str
    traceparent: str = ""
    conversation: str = ""
    """The key of the conversation that the call belongs to, or empty."""


class Window(Protocol):
    """Takes a result that may be larger than a page, as the backend brings it. Used on the loop's own thread."""

    batch_rows: int
    """How many rows are best fetched at once."""

    def open(self, columns: Sequence[str]) -> None:
        """The result is a table with these columns. Before any rows, and once for each time that the work is begun: a
        read whose connection was lost may be begun anew on another, and then brings the same rows again."""

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """More rows, of cells that `values` knows. Raises BackendError (TOO_LARGE) for one that fits no page."""

    async def room(self) -> bool:
        """Waits until more rows are wanted. False: they never will be, so the backend's work is to be stopped."""

    def close(self, more: bool = False) -> bytes:
        """There are no more rows, or (`more`) none that will be fetched: the body of the first page."""


class News(Protocol):
    """Whoever wants to hear how far a call's work is. Told on the loop's own thread."""

    def progress(self, progress: float, total: float | None = None, message: str = "") -> None:
        """So much is done, of so much if that is known, in the worker's own unit."""

    def log(self, level: str, data: Any, logger: str = "") -> None:
        """A line for the user: one of MCP's levels, and any JSON value."""


class Input(NamedTuple):
    """What the caller's client can be asked, and what its user has answered. JSON, as MCP spells it."""

    capabilities: bytes = b""
    """`clientCapabilities`, or empty."""
    responses: bytes = b""
    """`inputResponses` to what an earlier turn of the same call had asked for, or empty."""
    state: str = ""
    """The `requestState` that this earlier turn had left, or empty."""


class Work(NamedTuple):
    """One invocation for one connection."""

    prepared: Any
    """What the adapter's own `prepare` returned for the operation."""
    arguments: Mapping[str, Any]
    """Decoded JSON, checked against the schema, defaults filled in."""
    caller: Caller
    timeout_seconds: float
    """How long the hands will wait before they cancel; also the bound for an adapter's own blocking reads."""
    window: Window | None = None
    """Where a table's rows go when it may have more pages than one; None: the first page is all that is wanted. Only
    what reads uses it, since a write is not stopped half-way: what one gives back is cut to a page."""
    news: News | None = None
    input: Input | None = None
    in_transaction: bool = False
    """Whether it is a part of the transaction that a session has opened on the connection: no other is begun or ended
    for it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the backend answered: `body` is a JSON object in UTF-8, `content` marks MCP's own form."""

    body: bytes
    content: bool = False
    asks: bool = False
    """Whether it is no answer yet: `body` holds MCP's `inputRequests`, and the worker's own `requestState`."""


class Notification(NamedTuple):
    """What a backend said on one of its channels."""

    channel: str
    payload: str


ConnectionT = TypeVar("ConnectionT", bound=Connection)
PreparedT = TypeVar("PreparedT")


class Adapter(ABC, Generic[ConnectionT, PreparedT]):
    """One backend's adapter. Built once, without any input or output; it may be asked for many connections."""

    traits: Traits

    @abstractmethod
    def prepare(self, operation: Operation) -> PreparedT:
        """Compiles an operation once. Raises ValueError with a sentence when it cannot be served."""

    @abstractmethod
    async def open(self, tag: Tag) -> ConnectionT:
        """Starts a client and logs it in. May take minutes; the hands bound it by cancelling it."""

    @abstractmethod
    async def validate(self, connection: ConnectionT) -> None:
        """Asks the backend for the smallest answer. Raises when the connection cannot serve."""

    @abstractmethod
    async def execute(self, connection: ConnectionT, work: Work) -> Answer:
        """Runs one operation and answers with its first page. Raises anything that `classify` understands."""

    @abstractmethod
    async def cancel(self, connection: ConnectionT) -> Verdict:
        """Stops what an interrupted `execute` left running. CLEAN only when nothing of it can reach the next user."""

    @abstractmethod
    async def reset(self, connection: ConnectionT) -> Verdict:
        """Removes what the last user left: variables, locks, temporary objects, an open transaction."""

    @abstractmethod
    async def close(self, connection: ConnectionT, force: bool) -> bool:
        """Ends the connection, politely or by force. True: its death is certain. False: nobody could find out."""

    async def begin(self, connection: ConnectionT) -> None:
        """Opens a transaction for the statements of a session. Raises what `execute` raises."""

    async def commit(self, connection: ConnectionT) -> None:
        """Ends it, and keeps what was done in it. After this has returned that is certain.

        Raises what `execute` raises. Then nothing was kept, and one that has `failed` is still to be rolled back;
        unless `classify` says DEAD and that it had `started`: nobody knows what became of a commit whose answer never
        came.
        """

    async def rollback(self, connection: ConnectionT) -> None:
        """Ends it, whatever its state, and keeps nothing of it. Harmless where there is none."""

    async def census(self, connection: ConnectionT | None, left: Mapping[Tag, Notes]) -> Mapping[Tag, bool]:
        """Whether the backend still has these connections of a pooler that was killed, with what was noted of them.

        One that is missing in the answer is one that nobody can tell of. It may end those that it finds, and is asked
        until there are none. `connection` is None where side-channel work has a reserve of its own.
        """
        raise NotImplementedError("only a backend whose orphans are `listed` can be asked")

    async def listen(self, connection: ConnectionT, channels: Collection[str]) -> None:
        """Hears from now on what is said on these channels, and on no others. After this has returned, all of it.

        May be asked again, with others. Raises what `execute` raises. `reset` ends it.
        """
        raise NotImplementedError("only a backend whose settings say that it `listens` can be listened to")

    async def heard(self, connection: ConnectionT) -> Sequence[Notification]:
        """Waits until something has been said. Raises when the connection has ended; a cancel of it loses nothing."""
        raise NotImplementedError("only a backend whose settings say that it `listens` can be listened to")

    @abstractmethod
    def classify(self, error: BaseException) -> Failure:
        """Says what an exception from `open`, `validate` or `execute` means."""
