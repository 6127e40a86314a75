"""A MariaDB server: Debian's."""

import shutil
from pathlib import Path

import pymysql

from tests.servers.server import Server, ServerMissing

USER_LIMIT = 3
"""Connections that the user `limited` may have."""

PASSWORD = "legacy-secret"


class MariadbServer(Server):
    """Ordinary users `legacy` and `limited` (few connections), both with a password and rights on `legacy` only."""

    def __init__(self, folder: Path, max_connections: int = 30) -> None:
        super().__init__(folder)
        self._daemon = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin")
        self._install = shutil.which("mariadb-install-db")
        if self._daemon is None or self._install is None:
            raise ServerMissing("needs a MariaDB server: apt-get install mariadb-server")
        self._data = folder / "data"
        self._max_connections = max_connections
        self.url = self.url_of("legacy")

    def url_of(self, user: str, database: str = "legacy") -> str:
        """Where another user connects to."""
        return f"mariadb+pymysql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def ask(self, query: str, *values: object) -> int:
        """One number, asked for by the administrator on a connection of its own."""
        with self.administrator() as connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            row = cursor.fetchone()
            return int(row[0]) if row else 0

    def run_as_owner(self, command: str) -> None:
        """Makes something in the database `legacy`."""
        with self.administrator() as connection, connection.cursor() as cursor:
            cursor.execute("USE legacy")
            cursor.execute(command)

    def kill_connection(self, server_id: int) -> None:
        """Ends a connection as an administrator would; returns before it is gone."""
        with self.administrator() as connection, connection.cursor() as cursor:
            cursor.execute(f"KILL CONNECTION {server_id:d}")

    def connections(self) -> int:
        return self.ask("SELECT count(*) FROM information_schema.processlist WHERE user IN ('legacy', 'limited')")

    def sleeping(self) -> int:
        """How many connections are inside sleep()."""
        return self.ask("SELECT count(*) FROM information_schema.processlist WHERE state = 'User sleep'")

    def administrator(self) -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
        """A connection of the administrator, beside all that is counted."""
        return pymysql.connect(unix_socket=str(self.folder / "s.sock"), user="root", autocommit=True, ssl_disabled=True)

    def _set_up(self) -> None:
        assert self._install is not None
        self.run(
            [
                self._install,
                "--no-defaults",
                f"--datadir={self._data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]
        )

    def _command(self) -> list[str | Path]:
        assert self._daemon is not None
        return [
            self._daemon,
            "--no-defaults",
            f"--datadir={self._data}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--socket={self.folder}/s.sock",
            f"--pid-file={self.folder}/pid",
            f"--max-connections={self._max_connections}",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M",
        ]

    def _answers(self) -> bool:
        try:
            self.administrator().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def _populate(self) -> None:
        with self.administrator() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE legacy CHARACTER SET utf8mb4")
            for user, most in (("legacy", 0), ("limited", USER_LIMIT)):
                cursor.execute(
                    f"CREATE USER {user}@127.0.0.1 IDENTIFIED BY '{PASSWORD}' WITH MAX_USER_CONNECTIONS {most}"
                )
                cursor.execute(f"GRANT ALL ON legacy.* TO {user}@127.0.0.1")
