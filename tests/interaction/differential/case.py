"""One thing that is sent to both ways, and what is known of it beforehand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.interaction.differential.request import OLDEST, Request, legacy, modern

EVERYWHERE = ("open", "guarded", "stateless")


@dataclass(frozen=True, slots=True)
class Case:
    """`pieces`: what is written, one after the other."""

    name: str
    pieces: tuple[bytes, ...]
    hot: int | None = None
    """How many of its answers must come the short way; None: either will do."""
    settings: tuple[str, ...] = ("open",)
    in_turn: bool = False
    """Whether each piece is sent after the answers to the one before."""
    cut_off: bool = False
    """Whether the connection may end while a call is under way; how far that has got by then nobody can say."""


Cases = Iterator[Case]
Calls = Callable[..., Request]
"""Makes a call of a tool: its name, its arguments, and what else there is to say."""


ERAS: dict[str, Calls] = {"modern": modern, "legacy": legacy, "conversation": partial(legacy, talk="@talk@")}
"""The forms that a plain call has, by their names."""

MORE_ERAS: dict[str, Calls] = {
    **ERAS,
    "without a version": partial(legacy, version=""),
    OLDEST: partial(legacy, version=OLDEST),
}
"""With those that are told from the others by one header alone."""

STATELESS_ERAS = {name: ERAS[name] for name in ("modern", "legacy")}


def one(name: str, request: Request, hot: bool | None = None, settings: tuple[str, ...] = ("open",)) -> Case:
    """A case of one request, sent as a whole."""
    return Case(name, (request.raw(),), None if hot is None else int(hot), settings)
