"""The configuration keys of a `postgres` backend, and what its operations must look like. Imports no driver."""

import re

from pydantic import Field, SecretStr, field_validator

from pooler.backends import base, by_key, statements, traces
from pooler.backends.base import Operation

TRACES = (
    "is for one plain query that leaves nothing on its connection: this one calls what is no built-in function known "
    "to be harmless, or does more than to read; leave it out"
)
_URL = re.compile(r"postgres(ql)?://\S+|(\w+\s*=\s*('(?:[^'\\]|\\.)*'|\S*)\s*)+")


class Settings(base.Settings):
    """Where the database is. Everything else (TLS, time-outs, several hosts) is said in the URL, as libpq takes it."""

    url: SecretStr = Field(
        description="A libpq connection string, such as postgresql://user:password@host:5432/database?sslmode=require"
    )

    streams: int = Field(
        32,
        ge=1,
        le=256,
        description="How many calls of operations that `share` may be under way on one connection.",
    )

    @field_validator("url")
    @classmethod
    def _is_a_connection_string(cls, url: SecretStr) -> SecretStr:
        if not _URL.fullmatch(url.get_secret_value().strip()):
            raise ValueError("is no PostgreSQL connection string; write postgresql://user@host:5432/database")
        return url

    @property
    def listens(self) -> bool:
        """By LISTEN."""
        return True

    @property
    def shares(self) -> bool:
        """In libpq's pipeline."""
        return True

    @property
    def transactional(self) -> bool:
        """It has transactions."""
        return True

    def check(self, operation: Operation) -> list[str]:
        """Besides what every SQL statement must keep to: no COPY, whose stream a call cannot carry."""
        found = statements.faults(operation, statements.POSTGRES)
        if not found and statements.parse(operation.statement or "", statements.POSTGRES).verb == "COPY":
            found.append("COPY streams to the client, which a call cannot do: use SELECT or INSERT")
        return found

    def check_share(self, operation: Operation) -> list[str]:
        """What others find on the connection must be what they would find alone."""
        if statements.faults(operation, statements.POSTGRES):
            return []  # what is wrong with the statement is said of the statement
        statement = statements.parse(operation.statement or "", statements.POSTGRES)
        return [] if traces.leaves_no_trace(statement) else [TRACES]

    def check_keys(self, operation: Operation) -> list[str]:
        """The columns must be there, as far as that can be seen."""
        return by_key.faults(operation, statements.POSTGRES)
