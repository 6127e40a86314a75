"""What has been invalidated since when: tags, and for each the number of the last event that has moved it.

Whoever has begun to read notes the number that holds at that moment, and asks afterwards whether any of his tags has
moved since. So an answer that was under way when somebody wrote is told from one that was begun after it, however late
it arrives. A tag exists while anybody holds it, and no longer: what nobody has begun to read needs no trace of having
moved, and so there are never more tags than answers and flights bear. There is no time here.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Tag:
    """A name for what some answers depend on."""

    name: str
    moved: int = 0
    """The number of the last event that has moved it."""
    holders: int = 0
    own: bool = False
    """Whether nobody else can name it."""


Marks = tuple[Tag, ...]
"""What an answer depends on."""


def moved(marks: Marks, since: int) -> bool:
    """Whether any of them has moved after the event of this number."""
    for tag in marks:  # noqa: SIM110 - a generator would take twice as long, for each hit
        if tag.moved > since:
            return True
    return False


def names(marks: Marks) -> tuple[str, ...]:
    """What those of them are called that anybody can name."""
    return tuple(tag.name for tag in marks if not tag.own)


class Epochs:
    """All tags of a pooler, and how many events there were."""

    def __init__(self) -> None:
        self.now = 0
        """The number of the last event."""
        self._tags: dict[str, Tag] = {}

    def __len__(self) -> int:
        """How many tags anybody holds."""
        return len(self._tags)

    def hold(self, names: Iterable[str]) -> Marks:
        """The tags of these names, for somebody who will `let_go` of them."""
        marks = []
        for name in names:
            tag = self._tags.get(name)
            if tag is None:
                tag = self._tags[name] = Tag(name)
            tag.holders += 1
            marks.append(tag)
        return tuple(marks)

    def own(self, name: str) -> Tag:
        """A tag that nobody can name, for whoever moves it himself. It is never let go."""
        return Tag(name, holders=1, own=True)

    def let_go(self, marks: Marks) -> None:
        """Nobody will ask any more whether these have moved, as far as this holder goes."""
        for tag in marks:
            tag.holders -= 1
            if not tag.holders:
                del self._tags[tag.name]

    def move(self, names: Iterable[str] = (), own: Iterable[Tag] = ()) -> None:
        """Something has happened that makes wrong whatever was begun under these tags. `own`: some without a name."""
        self.now += 1
        for name in names:
            if tag := self._tags.get(name):
                tag.moved = self.now
        for tag in own:
            tag.moved = self.now
