"""Any database with a SQLAlchemy dialect, each connection in its own thread. Proven on SQLite and MariaDB."""
