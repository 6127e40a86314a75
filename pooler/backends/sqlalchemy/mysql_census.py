"""How MariaDB and MySQL are asked for the connections that a killed pooler has left, and told to end them.

They do not notice during a statement that their client has gone. A connection's number proves nothing by itself, since
a server that was started again counts anew: over TCP the port of its client tells it apart; on a local socket, which
has none, the moment in which the server was started.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pymysql

from pooler.backends.base import Notes, Tag

START_MARGIN_SECONDS = 2
"""The server's own figures are whole seconds, and its clock may be corrected a little."""

_OWN = "SELECT id, user, host FROM information_schema.processlist WHERE id = CONNECTION_ID()"
_ALL = "SELECT id, host FROM information_schema.processlist"
_UPTIME = "SHOW GLOBAL STATUS LIKE 'Uptime'"


def whereabouts(driver: Any) -> Notes:
    """What tells this connection from every other one, for a pooler that comes later."""
    ((number, user, host),) = _rows(driver, _OWN)
    notes: dict[str, str | int] = {"id": int(number), "user": str(user), "host": str(host)}
    return notes if _has_port(notes) else {**notes, "since": _started(driver)}


def census(driver: Any, left: Mapping[Tag, Notes]) -> dict[Tag, bool]:
    """Whether the server still has them. It is silent on what it cannot tell: other users' connections, for one."""
    hosts = {int(number): str(host) for number, host in _rows(driver, _ALL)}
    here = whereabouts(driver)
    found = {}
    for tag, notes in left.items():
        if notes.get("user") != here["user"]:
            continue  # a start that was cut short, or somebody whose connections nobody else may see
        found[tag] = hosts.get(int(notes["id"])) == notes["host"]
        if found[tag] and not _has_port(notes) and not _same_start(notes, here):
            del found[tag]
        elif found[tag]:
            with suppress(pymysql.err.MySQLError):  # it has just ended by itself
                driver.query(f"KILL CONNECTION {int(notes['id']):d}")
    return found


def _has_port(notes: Notes) -> bool:
    return ":" in str(notes["host"])


def _same_start(notes: Notes, here: Notes) -> bool:
    if "since" not in notes or "since" not in here:
        return False
    return abs(int(notes["since"]) - int(here["since"])) <= START_MARGIN_SECONDS


def _started(driver: Any) -> int:
    ((_, uptime),) = _rows(driver, _UPTIME)
    ((now,),) = _rows(driver, "SELECT UNIX_TIMESTAMP()")
    return int(now) - int(uptime)


def _rows(driver: Any, query: str) -> Any:
    with driver.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()
