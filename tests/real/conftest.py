"""The real servers, for tests of the programs as processes."""

from tests.servers.fixtures import mariadb_server, postgres_server

__all__ = ["mariadb_server", "postgres_server"]
