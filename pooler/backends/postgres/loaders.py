"""How PostgreSQL's values reach `values.encode`: in its form, most of them straight from the server's text.

Numbers, booleans, bytes and arrays are read by psycopg in C. A decimal, a UUID or a date is in its JSON form already
when the server sends it. Times only need their punctuation moved; reading them into Python's own types would fail for
what those cannot hold (infinity, years before Christ or past 9999), and such a value stays the server's text. A JSON
value is passed on unread. Needs DateStyle ISO and IntervalStyle iso_8601, which `connection.py` asks for.
"""

import re

from orjson import Fragment
from psycopg import postgres
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.types.bool import BoolLoader
from psycopg.types.numeric import FloatLoader, IntLoader
from psycopg.types.string import ByteaLoader, TextLoader

_MOMENT = re.compile(r"(?:(\d{4}-\d\d-\d\d) )?(\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:([+-]\d\d)(:\d\d)?(:\d\d)?)?")
_PART = re.compile(r"(-?)\d")
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
"""A JSON text has line breaks only between its tokens; an answer has none, for readers that go by lines."""


class MomentLoader(Loader):
    """Times and timestamps, with or without a time zone."""

    def load(self, data: Buffer) -> str:
        text = str(data, "ascii")
        match = _MOMENT.fullmatch(text)
        if match is None:
            return text
        day, clock, fraction, hours, minutes, seconds = match.groups()
        if day:
            clock = f"{day}T{clock}"
        if fraction:
            clock = f"{clock}.{fraction:0<6}"
        return f"{clock}{hours}{minutes or ':00'}{seconds or ''}" if hours else clock


class IntervalLoader(Loader):
    """An ISO 8601 duration; one that is negative in all its parts has the sign in front, as `values.duration` does."""

    def load(self, data: Buffer) -> str:
        text = str(data, "ascii")
        if "-" in text and all(_PART.findall(text)):
            return "-" + text.replace("-", "")
        return text


class JsonLoader(Loader):
    """A JSON value, as the server keeps it."""

    def load(self, data: Buffer) -> Fragment:
        return Fragment(bytes(data).translate(_ONE_LINE))


_READ: dict[str, type[Loader]] = {
    "bool": BoolLoader,
    "bytea": ByteaLoader,
    "float4": FloatLoader,
    "float8": FloatLoader,
    "int2": IntLoader,
    "int4": IntLoader,
    "int8": IntLoader,
    "interval": IntervalLoader,
    "json": JsonLoader,
    "jsonb": JsonLoader,
    "oid": IntLoader,
    "time": MomentLoader,
    "timestamp": MomentLoader,
    "timestamptz": MomentLoader,
    "timetz": MomentLoader,
}
"""By type; every other is the server's text, in arrays too."""


class _Loaders:
    """What psycopg takes as the context of a connection."""

    connection = None

    def __init__(self) -> None:
        self.adapters = AdaptersMap(postgres.adapters)
        for info in postgres.types:
            self.adapters.register_loader(info.oid, _READ.get(info.name, TextLoader))


LOADERS = _Loaders()
