"""Which conversations are open, whose they are, and when each of them is over: the rules, without a clock or a store.

A conversation is over when nobody has used it for a time, or when it has reached its age. While something of it is
under way, a run or a stream that its client follows, it is in use, however long that takes. A principal may have so
many; one more ends the one that has not been used for longest, but never one that is in use.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How long conversations are kept, and how many of one principal's. Times in seconds."""

    idle_seconds: float = 1800.0
    lifetime_seconds: float = 86_400.0
    per_principal_max: int = 1000


@dataclass(slots=True, eq=False)
class Life:
    """One conversation, as far as the rules go. Times in seconds on its keeper's clock."""

    key: str
    owner: tuple[str, str]
    """Its tenant and principal."""
    opened_at: float
    used_at: float
    holds: int = 0
    """How many things are under way that keep it in use."""


class Register:
    """All conversations that are open."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._by_use: OrderedDict[str, Life] = OrderedDict()
        """The one that was not used for longest comes first."""
        self._by_age: OrderedDict[str, Life] = OrderedDict()
        self._of: dict[tuple[str, str], OrderedDict[str, Life]] = {}
        """By owner, again in the order of their use."""

    def __len__(self) -> int:
        return len(self._by_use)

    def __contains__(self, key: str) -> bool:
        return key in self._by_use

    def load(self, lives: Iterable[Life]) -> None:
        """Takes those that an earlier process has left, in any order. Once, before anything else."""
        known = list(lives)
        for life in sorted(known, key=lambda life: life.used_at):
            self._by_use[life.key] = life
            self._of.setdefault(life.owner, OrderedDict())[life.key] = life
        for life in sorted(known, key=lambda life: life.opened_at):
            self._by_age[life.key] = life

    def room(self, owner: tuple[str, str]) -> list[Life] | None:
        """Which of an owner's conversations must end so that one more may be; None: all of them are in use."""
        theirs = self._of.get(owner, OrderedDict())
        too_many = len(theirs) + 1 - self.limits.per_principal_max
        if too_many <= 0:
            return []
        unused = [life for life in theirs.values() if not life.holds][:too_many]
        return unused if len(unused) == too_many else None

    def add(self, life: Life) -> None:
        """A conversation begins."""
        self._by_use[life.key] = self._by_age[life.key] = life
        self._of.setdefault(life.owner, OrderedDict())[life.key] = life

    def use(self, life: Life, now: float) -> None:
        """It is used. Harmless for one that has ended."""
        if life.key in self._by_use:
            life.used_at = now
            self._by_use.move_to_end(life.key)
            self._of[life.owner].move_to_end(life.key)

    def is_over(self, life: Life, now: float) -> bool:
        """Whether its time has come, as far as nobody has ended it before."""
        too_old = now >= life.opened_at + self.limits.lifetime_seconds
        return too_old or (not life.holds and now >= life.used_at + self.limits.idle_seconds)

    def over(self, now: float) -> list[Life]:
        """Those whose time has come. Looks at no more than those, and at what is in use."""
        found = {}
        for life in self._by_age.values():
            if now < life.opened_at + self.limits.lifetime_seconds:
                break
            found[life.key] = life
        for life in list(self._by_use.values()):
            if now < life.used_at + self.limits.idle_seconds:
                break
            if life.holds:
                self.use(life, now)
            else:
                found[life.key] = life
        return list(found.values())

    def used_since(self, then: float) -> Iterator[Life]:
        """Those that were used after a time, the latest first."""
        for life in reversed(self._by_use.values()):
            if life.used_at <= then:
                return
            yield life

    def remove(self, life: Life) -> bool:
        """It ends. False: it had ended already."""
        if self._by_use.pop(life.key, None) is None:
            return False
        del self._by_age[life.key]
        theirs = self._of[life.owner]
        del theirs[life.key]
        if not theirs:
            del self._of[life.owner]
        return True
