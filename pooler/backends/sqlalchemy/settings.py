"""The configuration keys of a `sqlalchemy` backend, and what its operations must look like. Imports no driver."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, SecretStr, field_validator

from pooler.backends import base, by_key, statements
from pooler.backends.base import Operation
from pooler.backends.statements import Lexis

_URL = re.compile(r"(?P<dialect>[a-z][a-z0-9_]*)(?:\+[a-z][a-z0-9_]*)?://(?P<rest>.*)", re.DOTALL)
_IN_MEMORY = re.compile(r"(?:/?|/:memory:)(?:\?.*)?")

LEXES = {
    "mariadb": statements.MYSQL,
    "mssql": statements.SQL_SERVER,
    "mysql": statements.MYSQL,
    "postgresql": statements.POSTGRES,
    "sqlite": statements.SQLITE,
}
"""How a dialect's statements are read; all others go by the standard."""


class Settings(base.Settings):
    """Where the database is, and what its driver is told besides."""

    url: SecretStr = Field(
        description="A SQLAlchemy URL, such as mariadb+pymysql://user:password@host/database or sqlite:///orders.db"
    )
    connect_args: Mapping[str, Any] = Field(
        default_factory=dict, description="Further arguments of the driver's own connect(), by name"
    )

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, url: SecretStr) -> SecretStr:
        match = _URL.fullmatch(url.get_secret_value())
        if match is None:
            raise ValueError("is no SQLAlchemy URL; write dialect+driver://user@host/database, or sqlite:///file.db")
        if match["dialect"] == "sqlite" and _IN_MEMORY.fullmatch(match["rest"]):
            raise ValueError("names a database in memory, which every connection would have for itself; name a file")
        return url

    @property
    def transactional(self) -> bool:
        """Every dialect has transactions."""
        return True

    @property
    def lexis(self) -> Lexis:
        """How this dialect's statements are read."""
        match = _URL.fullmatch(self.url.get_secret_value())
        return LEXES.get(match["dialect"] if match else "", statements.ANSI)

    def check(self, operation: Operation) -> list[str]:
        """What every SQL statement must keep to."""
        return statements.faults(operation, self.lexis)

    def check_keys(self, operation: Operation) -> list[str]:
        """The columns must be there, as far as that can be seen, and the dialect must be one that is known."""
        return by_key.faults(operation, self.lexis)
