"""Calls that share a connection: one statement behind the other in libpq's pipeline, each with a Sync of its own.

So each is a transaction by itself, and one that fails fails alone. What is sent in one turn of the loop travels
together, and so does what comes back. The connection's default is read-only meanwhile (`Connection.guarded`): a BEGIN
and a COMMIT around each statement would be three messages instead of one. No task waits here: the loop calls when there
is something to read. It starts nothing anew but a statement whose plan the server has forgotten.
"""

import asyncio
import socket
from collections import deque

import psycopg
from psycopg import errors, pq
from psycopg.pq.abc import PGresult

from pooler.backends.base import Answer, BackendError, Failure, FailureKind, Work
from pooler.backends.postgres import parameters
from pooler.backends.postgres.connection import Connection
from pooler.backends.postgres.exchange import PREPARED_MAX, Plan, is_stale
from pooler.backends.postgres.rows import Form
from pooler.backends.shared import Done, NoPageError, Result

ROWS_MAX = 1000
"""The most rows of a result that is shared, whatever its page holds: they are converted in one go, in about 2 ms."""
BYTES_MAX = 262_144
"""The same for its bytes."""

CORK: int = getattr(socket, "TCP_CORK", 0)
"""Linux alone has it. 0: what is sent leaves as it comes."""
GUARD = b"SET default_transaction_read_only = on"
ENDED = "the server closed the connection"

_COMMAND_OK = pq.ExecStatus.COMMAND_OK
_TUPLES_OK = pq.ExecStatus.TUPLES_OK
_TUPLES_CHUNK = pq.ExecStatus.TUPLES_CHUNK
_SYNC = pq.ExecStatus.PIPELINE_SYNC
_ABORTED = pq.ExecStatus.PIPELINE_ABORTED


class Call:
    """One statement on its way, and what has come back of it so far."""

    __slots__ = ("again", "done", "key", "name", "plan", "preparing", "result", "values")

    def __init__(self, plan: Plan, key: tuple[bytes, tuple[int, ...]], values: list[bytes | None], done: Done) -> None:
        self.plan = plan
        self.key = key
        self.values = values
        self.done: Done | None = done
        self.name = b""
        self.preparing = False
        """Whether its statement is prepared in front of it."""
        self.again = False
        """Whether it is sent for the second time."""
        self.result: Result | None = None


class Pipeline:
    """Of one connection. It owns the socket's events from the first call to `end`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._calls: deque[Call | None] = deque()
        """What the server still owes an answer to, the oldest first; None: the guard, of which nobody wants to hear."""
        self._forms: dict[bytes, Form] = {}
        """How the rows of each prepared statement are read, by its name."""
        self._corks = bool(CORK) and connection.duplicate.family != socket.AF_UNIX
        self._socket = connection.duplicate
        """What is listened to: libpq closes its own under the loop's feet, once it sees that the server has gone."""
        self._listening = False
        self._writing = False
        self._flushing = False
        self._begun = False
        """Whether libpq was told in what chunks to give the rows of whoever is at the head."""

    def send(self, work: Work, done: Done) -> None:
        """One more call. Raises BackendError, or psycopg's errors, when nothing can be sent."""
        plan: Plan = work.prepared
        types, values = parameters.encode([work.arguments.get(name) for name in plan.rendered.names])
        if not self._listening:
            self._listen()
        if not self._connection.guarded:
            self._guard()
        self._send(Call(plan, (plan.text, types), values, done))

    @property
    def at_work(self) -> Done | None:
        """Whose statement the server is at."""
        for call in self._calls:
            if call is not None:
                return call.done
        return None

    @property
    def hopeless(self) -> bool:
        """Whether the head is known to have no page, and the rest of its rows is only waited for."""
        return any(isinstance(call.result, NoPageError) for call in self._calls if call is not None)

    def leave_behind(self) -> None:
        """Nobody waits for what stands behind the head; the head hears at once that it has no page, if that is so."""
        head, *others = [call for call in self._calls if call is not None]
        for call in others:
            call.done = None
        if self.hopeless:
            self._loop.call_soon(self._tell, head)

    def end(self) -> None:
        """Lets go of the socket; nobody is told of anything any more. What the server owes stands in `syncs`."""
        self._calls.clear()
        self._begun = False
        if self._flushing:
            self._flushing = False
            self._cork(0)
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._socket)
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._socket)

    def forget(self) -> None:
        """No statement is prepared any more."""
        self._forms.clear()

    # Sending

    def _listen(self) -> None:
        self._loop.add_reader(self._socket, self._read)
        self._listening = True

    def _guard(self) -> None:
        self._pgconn.send_query_params(GUARD, None)
        self._sync(None)
        self._connection.guarded = True

    def _send(self, call: Call) -> None:
        connection, pgconn = self._connection, self._pgconn
        name = connection.prepared.get(call.key)
        if name is None or call.again:
            name = self._prepare(call, name)
        call.name = name
        pgconn.send_query_prepared(name, call.values)
        self._sync(call)

    def _prepare(self, call: Call, stale: bytes | None) -> bytes:
        """Whoever comes behind uses it as well: should it fail, they find that out by themselves, and prepare it."""
        connection = self._connection
        if stale is not None:
            self._deallocate(stale)
        elif len(connection.prepared) >= PREPARED_MAX:
            self._deallocate(connection.prepared.pop(next(iter(connection.prepared))))
        connection.names += 1
        name = b"penstock_%d" % connection.names
        text, types = call.key
        self._pgconn.send_prepare(name, text, types)
        connection.prepared[call.key] = name
        call.preparing = True
        return name

    def _deallocate(self, name: bytes) -> None:
        """Those sent before have used it by then. The server may know it no more: nobody wants to hear of that."""
        self._forms.pop(name, None)
        self._pgconn.send_query_params(b"DEALLOCATE " + name, None)
        self._sync(None)

    def _sync(self, call: Call | None) -> None:
        """The end of a call. Where many are sent, libpq would ask the system for each: they are held back till all are
        written, which spares the server a wake-up for each as well."""
        if not self._flushing:
            self._flushing = True
            self._cork(1)
            self._loop.call_soon(self._flush)
        self._pgconn.pipeline_sync()
        self._connection.syncs += 1
        self._calls.append(call)

    def _cork(self, corked: int) -> None:
        if self._corks:
            self._connection.duplicate.setsockopt(socket.IPPROTO_TCP, CORK, corked)

    def _flush(self) -> None:
        """Lets it go. What the socket had no room for waits until it has."""
        if self._flushing:
            self._flushing = False
            self._cork(0)
        if not self._listening:
            return
        try:
            unsent = self._pgconn.flush() == 1
        except psycopg.OperationalError:
            unsent = False  # what is wrong with the connection is found out by reading
        if unsent and not self._writing:
            self._loop.add_writer(self._socket, self._flush)
        elif self._writing and not unsent:
            self._loop.remove_writer(self._socket)
        self._writing = unsent

    # Reading

    def _read(self) -> None:
        """There is something to read."""
        lost: psycopg.Error | None = None
        try:
            self._pgconn.consume_input()
        except psycopg.OperationalError as error:
            lost = error
        try:
            self._collect()
            if self._calls and lost is None:
                # The loop may say but once that a socket broke, also when there was something to read before it did.
                self._pgconn.consume_input()
                self._collect()
        except psycopg.OperationalError as error:
            lost = lost or error
        if lost is not None or self._pgconn.status == pq.ConnStatus.BAD:
            self._lost()

    def _collect(self) -> None:
        """Takes what has come, as far as it has come."""
        pgconn, calls = self._pgconn, self._calls
        is_busy, get_result = pgconn.is_busy, pgconn.get_result
        blanks = 0
        while calls and blanks < 3:
            call = calls[0]
            if not self._begun:
                self._begin(call)
            if is_busy():
                return
            result = get_result()
            if result is None:
                blanks += 1  # libpq has one between two results, and nothing but them when the server has gone
                if call is not None and call.preparing:
                    call.preparing, self._begun = False, False
                continue
            blanks = 0
            status = result.status
            if status == _SYNC:
                calls.popleft()
                self._connection.syncs -= 1
                self._begun = False
                if call is not None:
                    self._ended(call)
            elif call is not None:
                self._take(call, result, status)

    def _begin(self, call: Call | None) -> None:
        """Results larger than a page come in chunks, so that nobody has to hold one in memory."""
        self._begun = True
        if call is not None and not call.preparing:
            try:  # noqa: SIM105 - `suppress` costs every call as much as the rest of this
                self._pgconn.set_chunked_rows_mode(_rows_max(call.plan) + 1)
            except psycopg.Error:
                pass  # it has come whole already

    def _take(self, call: Call, result: PGresult, status: int) -> None:
        if status in (_TUPLES_CHUNK, _TUPLES_OK):
            if call.result is None:
                call.result = self._page(call, result)
            elif result.ntuples:
                call.result = NoPageError()
        elif status not in (_ABORTED, _COMMAND_OK) and not isinstance(call.result, BaseException):
            call.result = errors.error_from_result(result)
            if call.preparing and self._connection.prepared.get(call.key) == call.name:
                del self._connection.prepared[call.key]

    def _page(self, call: Call, result: PGresult) -> Result:
        """The answer, if these are all of its rows."""
        plan = call.plan
        if result.ntuples > _rows_max(plan):
            return NoPageError()
        form = self._forms.get(call.name)
        try:
            if form is None:
                form = self._new_form(call.name, result)
            body = form.page(result)
        except Exception as error:  # noqa: BLE001 - a value that cannot be read; whoever asked for it is told
            return error
        return Answer(body) if len(body) <= min(plan.page_bytes, BYTES_MAX) else NoPageError()

    def _new_form(self, name: bytes, result: PGresult) -> Form:
        if len(self._forms) >= PREPARED_MAX:
            self._forms.clear()  # some of these names mean nothing any more
        form = self._forms[name] = Form(result)
        return form

    def _ended(self, call: Call) -> None:
        """The server has said its last word on a call."""
        result = call.result
        if isinstance(result, psycopg.Error) and is_stale(result) and not call.again and call.done is not None:
            call.again, call.result = True, None
            try:
                self._send(call)
            except psycopg.Error as error:
                call.result = error
            else:
                return
        self._tell(call)

    def _tell(self, call: Call) -> None:
        done, call.done = call.done, None
        if done is not None:
            nothing = BackendError(Failure(FailureKind.BUG, "the server has not answered the statement"))
            done(nothing if call.result is None else call.result)

    def _lost(self) -> None:
        """The server has gone. Whoever has no result by now never gets one."""
        calls = [call for call in self._calls if call is not None]
        self.end()
        self._connection.broken = f"{ENDED} while it was idle"
        for call in calls:
            if call.result is None or isinstance(call.result, NoPageError):
                call.result = psycopg.OperationalError(ENDED)
            self._tell(call)


def _rows_max(plan: Plan) -> int:
    return min(plan.page_rows, ROWS_MAX)
