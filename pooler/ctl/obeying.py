"""Carries the DBA's commands out: sends an order for each backend, and says what has become of it."""

import sys
from typing import Any

import orjson

from pooler.ctl import views
from pooler.ctl.exits import exit_of, fail
from pooler.ctl.reach import Reach
from pooler.service.client import CallError


def order(name: str, backends: list[str], where: Reach, *, as_json: bool, **fields: object) -> None:
    """Gives an order to each of these; ends the command at the first that fails, after saying what was done."""
    try:
        with where.client() as client:
            for backend in backends:
                reply = client.order(name, where.timeout_seconds, backend=backend, **fields)
                _say(reply, as_json, sentence(name, reply, fields))
    except CallError as error:
        fail(error.message, exit_of(error.status))


def names(where: Reach) -> list[str]:
    """Every backend there is."""
    try:
        with where.client() as client:
            found = client.snapshot([], [], 0, where.timeout_seconds)
    except CallError as error:
        fail(error.message, exit_of(error.status))
    return [each["backend"]["name"] for each in found["backends"]]


def reload(where: Reach, *, as_json: bool) -> None:
    """Has the configuration read again."""
    try:
        with where.client() as client:
            reply = client.order("Reload", where.timeout_seconds)
    except CallError as error:
        fail(error.message, exit_of(error.status))
    _say(reply, as_json, "\n".join(reloaded(reply)))


def invalidate(where: Reach, tags: list[str], operation: str, everything: bool, *, as_json: bool) -> None:
    """Has answers given to nobody any more."""
    fields = {"tags": tags, "operation": operation, "everything": everything}
    try:
        with where.client() as client:
            reply = client.order("Invalidate", where.timeout_seconds, **fields)
    except CallError as error:
        fail(error.message, exit_of(error.status))
    _say(reply, as_json, f"{reply['answers']} answers were kept that nobody is given any more")


def sentence(name: str, reply: dict[str, Any], fields: dict[str, Any]) -> str:
    """What has become of an order, as the pool is after it."""
    backend = reply["backend"]
    row = views.backend(backend)
    now = (
        f"{backend['name']} is {row['state']}: {backend['in_use']} in use, {backend['idle']} idle, "
        f"{row['coming']} starting, {row['ending']} ending, {backend['queued']} queued"
    )
    match name:
        case "SetCap":
            return f"cap {reply['cap_before']} → {backend['cap']}; {now}"
        case "KillCall":
            return f"{reply['killed']} killed; {now}"
        case "KillConnection":
            return f"connection {fields['number']} killed; {now}"
        case "Retire":
            return f"generation {backend['generation']} begins; {now}"
        case _:
            return now


def reloaded(reply: dict[str, Any]) -> list[str]:
    """What a reload has changed, a line each."""
    lines = [f"the configuration was read: {reply['operations']} operations, {reply['operations_before']} before"]
    names = [key for key in ("backends_added", "backends_removed", "backends_changed") if reply[key]]
    lines += [f"{key.replace('_', ' ')}: {', '.join(reply[key])}" for key in names]
    lines += [f"cap of {each['backend']}: {each['before']} → {each['after']}" for each in reply["caps"]]
    if reply["restart_needed"]:
        lines.append(f"these hold after a restart only: {', '.join(reply['restart_needed'])}")
    return lines


def _say(reply: dict[str, Any], as_json: bool, words: str) -> None:
    sys.stdout.write((orjson.dumps(reply).decode() if as_json else words) + "\n")
    sys.stdout.flush()
