"""Pages by key: each is a call of its own, which runs the statement from behind the last row that its caller has.

Nothing is kept for it, so it survives the pooler. It is right only where the keys tell every row apart and are never
NULL; a row that breaks this is an error that says so, since rows would be missing without a word. The statements are
made by `backends/by_key.py`.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

from pooler.backends.base import BackendError, Failure, FailureKind
from pooler.backends.by_key import ARGUMENT
from pooler.backends.tables import BATCH_ROWS, TRUNCATED, Cut, Cutter, next_cursor, page_body
from pooler.errors import Fault

KEYS_BYTES_MAX = 256
"""A cursor travels through a model and back: keys that take more are none."""
CURSOR_BYTES = 1024
"""What a page keeps free for its `next_cursor`: keys and arguments at their longest, sealed, in base64."""

_WRITTEN: Mapping[type, tuple[str, Callable[[Any], str]]] = {
    Decimal: ("decimal", str),
    datetime: ("datetime", datetime.isoformat),
    date: ("date", date.isoformat),
    time: ("time", time.isoformat),
    bytes: ("bytes", lambda value: b64encode(value).decode()),
    UUID: ("uuid", str),
}
_READ: Mapping[str, Callable[[str], Any]] = {
    "decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "bytes": b64decode,
    "uuid": UUID,
}


def behind(operation: str) -> str:
    """What the statement of the pages behind the first one is called."""
    return f"{operation} (next page)"


def arguments(keys: Sequence[Any]) -> Mapping[str, Any]:
    """The keys of a cursor, as further arguments of the statement."""
    return {f"{ARGUMENT}{number}": _read(key) for number, key in enumerate(keys, 1)}


def without_keys(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments that the caller has given himself."""
    return {name: value for name, value in given.items() if not name.startswith(ARGUMENT)}


class KeyedPage:
    """One page of a statement by key. A window (`base.Window`) to the adapter, which wants no more than this page."""

    __slots__ = ("_cursor", "_cut", "_cutter", "_indexes", "_keys", "_names", "_operation", "_paging")

    batch_rows = BATCH_ROWS

    def __init__(
        self, operation: str, names: Sequence[str], rows_max: int, bytes_max: int, cursor: Callable[[list[Any]], str]
    ) -> None:
        """`names`: of the key columns. `cursor`: makes the handle of the rows behind these keys."""
        self._operation = operation
        self._names = names
        self._paging = (rows_max, bytes_max)
        self._cursor = cursor
        self._cutter: Cutter | None = None
        self._cut: Cut | None = None
        self._indexes: tuple[int, ...] = ()
        self._keys: list[tuple[Any, ...]] = []
        """Of every row so far: no more than a page has, and one."""

    def open(self, columns: Sequence[str]) -> None:
        """The result is a table with these columns. Raises BackendError when a key is none of them, or is two."""
        for name in self._names:
            if (count := list(columns).count(name)) != 1:
                self._wrong(f"{name!r} is the name of {count or 'none'} of its columns ({', '.join(columns)})")
        self._indexes = tuple(list(columns).index(name) for name in self._names)
        self._cutter = Cutter(columns, *self._paging, CURSOR_BYTES)
        self._keys = []

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """More rows, in the order of their keys. Raises BackendError when they have none, or share them."""
        assert self._cutter is not None, "rows before their columns"
        if self._cut is not None:
            return
        for row in rows:
            self._note_keys(tuple(row[index] for index in self._indexes))
        self._cut = next(self._cutter.add(rows), None)

    async def room(self) -> bool:
        """Whether the page has room for more."""
        return self._cut is None

    def close(self, more: bool = False) -> bytes:
        """The page."""
        assert self._cutter is not None, "the end of a table before its columns"
        if self._cut is None:
            return page_body(self._cutter.columns, self._cutter.rest(), TRUNCATED if more else b"")
        last = self._keys[self._cut.row_count - 1]
        handle = self._cursor([self._written(name, key) for name, key in zip(self._names, last, strict=True)])
        return page_body(self._cutter.columns, self._cut, next_cursor(handle))

    @property
    def more(self) -> bool:
        """Whether there is a page behind this one."""
        return self._cut is not None

    def fail(self, fault: Fault) -> None:
        """Nothing was told early, so whoever asks hears it by himself."""

    def drop(self) -> None:
        """Nothing is kept."""

    def _note_keys(self, keys: tuple[Any, ...]) -> None:
        if None in keys:
            self._wrong(f"{self._names[keys.index(None)]!r} is NULL in one of the rows: keys never may be")
        if self._keys and self._keys[-1] == keys:
            self._wrong("two rows have the same keys: add a column that tells them apart")
        self._keys.append(keys)

    def _written(self, name: str, key: Any) -> Any:
        """A key as JSON."""
        written = key
        if not isinstance(key, bool | int | float | str):
            if type(key) not in _WRITTEN:
                self._wrong(f"{name!r} is a {type(key).__name__}, by which nobody can page: name another column")
            kind, write = _WRITTEN[type(key)]
            written = [kind, write(key)]
        if len(str(written).encode("utf-8", "surrogatepass")) > KEYS_BYTES_MAX // len(self._names):
            self._wrong(f"{name!r} is too long in one of the rows: the keys of a row may take {KEYS_BYTES_MAX} bytes")
        return written

    def _wrong(self, what: str) -> NoReturn:
        words = f"{self._operation} cannot be paged by its `order_by`: {what}"
        raise BackendError(Failure(FailureKind.USER_ERROR, words))


def _read(key: Any) -> Any:
    if not isinstance(key, list):
        return key
    kind, text = key
    return _READ[kind](text)
