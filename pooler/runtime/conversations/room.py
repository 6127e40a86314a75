"""All conversations of a pooler: opened, used, changed, ended.

Each is a record in the store and, while this process lives, an object here with what belongs to it: whatever is
attached ends with it. Who may use one is said by its handle, and how long it lives by `core.conversations`. This file
runs no call, follows no run and watches nothing: `hearing` and the rooms that it is given do.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import structlog

from pooler.clock import Clock
from pooler.core.conversations import Life, Limits, Register
from pooler.errors import Fault, Reason
from pooler.runtime.conversations.conversation import Belonging, Conversation, RunName
from pooler.runtime.conversations.hearing import Hearing, Watches
from pooler.runtime.conversations.record import Record, Target
from pooler.runtime.handles import Sealer, expired
from pooler.runtime.store.base import FULL_RETRY_MS, Store

log = structlog.get_logger(__name__)

KIND = "conversation"
NOTE = "conversation note"
"""The kind of the entry with the caller's own note: apart, since it is large and never changes."""
KEY_BYTES = 12
NOTE_BYTES_MAX = 65_536
SUBSCRIPTIONS_MAX = 100
UPKEEP_SECONDS = 5.0
"""How often is looked for those whose time has come. Who uses one hears of its end in time all the same."""
KEPT_SHARE = 0.1
"""Of the idle time: how much of their last use a kill of the pooler may lose."""


class Conversations:
    """All of a pooler's. `wall`: Unix time in seconds."""

    def __init__(self, sealer: Sealer, store: Store, limits: Limits, wall: Clock) -> None:
        self.ended: list[Callable[[str], Awaitable[None] | None]] = []
        """Rooms that end what is a conversation's by its key, when it ends."""
        self.draining = False
        self._sealer = sealer
        self._store = store
        self._wall = wall
        self._register = Register(limits)
        self._open: dict[str, Conversation] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._looked_at = wall()
        self._upkeep: asyncio.Task[None] | None = None

    @property
    def limits(self) -> Limits:
        """May be replaced at any time."""
        return self._register.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._register.limits = limits

    async def start(self) -> None:
        """Goes on with those that an earlier process has left in the store, and begins to look after all of them."""
        names = f"x{secrets.token_hex(3)}"
        for key, value in await self._store.all(KIND):
            try:
                record = Record.unpack(value)
            except (ValueError, TypeError, KeyError):
                log.warning("a conversation cannot be read, and has ended", conversation=key)
                await self._store.delete(KIND, key)
                continue
            life = Life(key, (record.tenant, record.principal), record.opened_at, min(record.used_at, self._wall()))
            self._open[key] = Conversation(life, record, names)
        self._register.load(conversation.life for conversation in self._open.values())
        self._upkeep = asyncio.get_running_loop().create_task(self._look_after())

    async def stop(self) -> None:
        """Lets go of all of them, for the next process to go on with. Ends what they hear, and nothing else."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.wait({self._upkeep})
        for conversation in self._open.values():
            _hush(conversation)
        await self._keep_uses(0.0, 0.0)
        if self._endings:
            await asyncio.wait(self._endings)

    async def open(self, tenant: str, principal: str, capabilities: bytes = b"", note: bytes = b"") -> Conversation:
        """Begins one. It is in the store when this returns. Raises Fault (INVALID_ARGUMENTS, STORE_FULL)."""
        if len(note) > NOTE_BYTES_MAX:
            sentence = f"The note has {len(note)} bytes; a conversation's takes at most {NOTE_BYTES_MAX}."
            raise Fault(Reason.INVALID_ARGUMENTS, sentence)
        now = self._wall()
        record = Record(tenant, principal, now, now, capabilities).check()
        if self.draining:
            raise Fault(Reason.DRAINING, "This pooler is being shut down and opens no conversations.")
        self._make_room(tenant, principal)
        life = Life(secrets.token_hex(KEY_BYTES), (tenant, principal), now, now)
        conversation = Conversation(life, record)
        self._register.add(life)
        self._open[life.key] = conversation
        try:
            if note:
                await self._store.put(NOTE, life.key, note, self._end_of(life))
            await self._keep(conversation)
        except BaseException:
            self.end(conversation)
            raise
        return conversation

    def handle(self, conversation: Conversation) -> str:
        """What its client holds of it: good for its own principal, until its age is reached."""
        life = conversation.life
        return self._sealer.seal(KIND, life.key.encode(), *life.owner, self._end_of(life))

    def check(self, handle: str, tenant: str, principal: str) -> Conversation:
        """The conversation of a handle, which is thereby used.

        Raises Fault: HANDLE_UNKNOWN, HANDLE_LOST, or HANDLE_EXPIRED when it has ended.
        """
        key = self._sealer.open(handle, KIND, tenant, principal).decode()
        conversation = self._open.get(key)
        if conversation is None:
            expired(KIND)
        now = self._wall()
        if self._register.is_over(conversation.life, now):
            self.end(conversation)
            expired(KIND)
        self._register.use(conversation.life, now)
        return conversation

    def alive(self, key: str) -> bool:
        """Whether the conversation of a key has not ended."""
        return key in self._open

    def attach(self, key: str, belonging: Belonging) -> None:
        """From now on something ends with a conversation. Raises Fault (HANDLE_EXPIRED) when it has ended already."""
        if (conversation := self._open.get(key)) is None:
            expired(KIND)
        conversation.belongings[belonging] = None

    def detach(self, key: str, belonging: Belonging) -> None:
        """It has ended by itself. Harmless when repeated."""
        if conversation := self._open.get(key):
            conversation.belongings.pop(belonging, None)

    def begin_run(self, key: str, request_key: str = "") -> RunName:
        """Names a new run, by which the conversation is in use until `end_run`. Raises Fault (HANDLE_EXPIRED)."""
        if (conversation := self._open.get(key)) is None:
            expired(KIND)
        run = conversation.next_run()
        conversation.life.holds += 1
        if request_key:
            conversation.requests[request_key] = run
        return run

    def end_run(self, key: str, run: RunName, request_key: str = "") -> None:
        """A run is under way no more. Once for each that was begun."""
        if conversation := self._open.get(key):
            if conversation.requests.get(request_key) == run:
                del conversation.requests[request_key]
            self.release(conversation)

    def hold(self, conversation: Conversation) -> None:
        """It is in use until it is released."""
        conversation.life.holds += 1

    def release(self, conversation: Conversation) -> None:
        """What had held it is over; its idle time begins now."""
        conversation.life.holds -= 1
        self._register.use(conversation.life, self._wall())

    def listen(self, conversation: Conversation, watches: Watches) -> Hearing:
        """What its client hears beside its runs, from now on; the stream that it listened by before is over.

        What nobody has taken from that one is heard by this.
        """
        unread = conversation.hearing.unread if conversation.hearing is not None else []
        _hush(conversation)
        self.hold(conversation)

        def ended(hearing: Hearing) -> None:
            if conversation.hearing is hearing:
                conversation.hearing = None
            self.release(conversation)

        targets = conversation.record.subscriptions.values()
        conversation.hearing = Hearing(watches, conversation.caller, targets, unread, ended)
        return conversation.hearing

    async def note(self, conversation: Conversation) -> bytes:
        """What its caller noted when it was opened."""
        return await self._store.get(NOTE, conversation.key) or b""

    async def set_log_level(self, conversation: Conversation, level: str) -> None:
        """Keeps MCP's level that its client asked for. Raises Fault."""
        await self._change(conversation, conversation.record.with_log_level(level))

    async def subscribe(self, conversation: Conversation, target: Target, watches: Watches) -> None:
        """Its client is to hear of a resource's changes.

        Raises Fault when there are none to hear of, and STORE_FULL when it hears of too many.
        """
        record = conversation.record
        changed = record.with_subscription(target)
        watches.check([target], conversation.caller)
        if target.uri not in record.subscriptions and len(record.subscriptions) >= SUBSCRIPTIONS_MAX:
            sentence = f"This conversation has {SUBSCRIPTIONS_MAX} subscriptions, as many as it may. Give one up."
            raise Fault(Reason.STORE_FULL, sentence, {"retry_after_ms": str(FULL_RETRY_MS)})
        await self._change(conversation, changed)
        if conversation.hearing is not None:
            conversation.hearing.watch(target)

    async def unsubscribe(self, conversation: Conversation, uri: str) -> None:
        """It is to hear of them no more. Harmless when it did not."""
        await self._change(conversation, conversation.record.without_subscription(uri))
        if conversation.hearing is not None:
            conversation.hearing.forget(uri)

    async def close(self, conversation: Conversation) -> None:
        """Ends it: nothing of it can be used from now on, and everything has been ended when this returns."""
        if (ending := self.end(conversation)) is not None:
            await asyncio.shield(ending)

    def end(self, conversation: Conversation) -> asyncio.Task[None] | None:
        """Ends it, for whatever reason. None: it had ended already."""
        if not self._register.remove(conversation.life):
            return None
        del self._open[conversation.key]
        _hush(conversation)
        task = asyncio.get_running_loop().create_task(self._bury(conversation))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        return task

    async def _bury(self, conversation: Conversation) -> None:
        belongings = [*conversation.belongings]
        conversation.belongings.clear()
        work: list[Awaitable[None]] = [belonging.end() for belonging in belongings]
        work += [ending for room in self.ended if (ending := room(conversation.key)) is not None]
        work += [self._store.delete(KIND, conversation.key), self._store.delete(NOTE, conversation.key)]
        work.append(self._store.delete_under(conversation.key))  # what an earlier process has stored of it
        for failure in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(failure, BaseException):
                log.error(
                    "something of a conversation could not be ended", conversation=conversation.key, exc_info=failure
                )

    def _make_room(self, tenant: str, principal: str) -> None:
        surplus = self._register.room((tenant, principal))
        if surplus is None:
            raise Fault(
                Reason.STORE_FULL,
                f"This principal has {self.limits.per_principal_max} conversations, as many as it may, and all of them "
                "are in use. Close one, or try again later.",
                {"retry_after_ms": str(FULL_RETRY_MS)},
            )
        for life in surplus:
            self.end(self._open[life.key])

    async def _change(self, conversation: Conversation, record: Record) -> None:
        before, conversation.record = conversation.record, record
        try:
            await self._keep(conversation)
        except BaseException:
            conversation.record = before
            raise

    async def _keep(self, conversation: Conversation) -> None:
        """Writes its record. One that has ended meanwhile stays away."""
        life = conversation.life
        conversation.record = conversation.record.used(life.used_at)
        await self._store.put(KIND, life.key, conversation.record.pack(), self._end_of(life))
        if life.key not in self._open:
            await self._store.delete(KIND, life.key)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(UPKEEP_SECONDS)
            try:
                await self.look_after()
            except Exception as error:  # noqa: BLE001 - whatever it was, there is a next time
                log.warning("conversations could not be looked after", error=repr(error))

    async def look_after(self) -> None:
        """Ends those whose time has come, and writes down when the others were used. Raises Fault when it cannot."""
        now = self._wall()
        for life in self._register.over(now):
            self.end(self._open[life.key])
        since, self._looked_at = self._looked_at, now
        await self._keep_uses(since, self.limits.idle_seconds * KEPT_SHARE)

    async def _keep_uses(self, since: float, late_seconds: float) -> None:
        """Writes the records of those that were used after a time and whose records are so late or later."""
        used = [self._open[life.key] for life in self._register.used_since(since)]
        late = [each for each in used if each.life.used_at > each.record.used_at + late_seconds]
        await asyncio.gather(*(self._keep(conversation) for conversation in late))

    def _end_of(self, life: Life) -> float:
        return life.opened_at + self.limits.lifetime_seconds


def _hush(conversation: Conversation) -> None:
    if conversation.hearing is not None:
        conversation.hearing.end()
