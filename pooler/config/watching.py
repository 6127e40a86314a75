"""Whether what an operation says of being watched fits the operation and its backend. Starts nothing."""

from pooler.config.document import Document
from pooler.config.faults import KeyPath, nearest
from pooler.config.model import BackendConfig
from pooler.config.operations import OperationConfig, WatchConfig

CHANNEL_BYTES_MAX = 63
"""What PostgreSQL takes."""
CAP_MIN = 2
"""One connection to listen with, and one for calls."""


def check_watch(operation: OperationConfig, backend: BackendConfig | None, path: KeyPath, document: Document) -> None:
    """What is wrong with an operation's `watch`. `backend`: None where it is already known to be faulty."""
    watch, here = operation.watch, (*path, "watch")
    if watch is None:
        return
    if (watch.channel is None) == (watch.every_seconds is None):
        document.fault(here, "needs either a `channel` or `every_seconds`; give exactly one of them", at_key=True)
    if operation.resource is None or operation.effect != "read":
        document.fault(here, "is for resources; add a `resource` that reads, or leave it out", at_key=True)
    if operation.confirm is not None or operation.asks:
        document.fault(here, "would ask its user whenever it is looked at; leave out one of the two", at_key=True)
    _check_argument(watch, operation, here, document)
    if watch.channel is not None:
        check_channel(watch.channel, operation.backend, backend, (*here, "channel"), document, "`every_seconds`")


def _check_argument(watch: WatchConfig, operation: OperationConfig, path: KeyPath, document: Document) -> None:
    if watch.argument is None:
        return
    here = (*path, "argument")
    if watch.channel is None:
        document.fault(here, "is what the payload of a `channel` names; add one, or leave it out")
    elif watch.argument not in operation.arguments:
        document.fault(here, f"is no argument of the operation; {nearest(watch.argument, operation.arguments)}")


def check_channel(
    channel: str, name: str, backend: BackendConfig | None, path: KeyPath, document: Document, instead: str
) -> None:
    """Whether a backend can be listened to on a channel. `instead`: what to use where it cannot."""
    if len(channel.encode()) > CHANNEL_BYTES_MAX:
        document.fault(path, f"takes at most {CHANNEL_BYTES_MAX} bytes")
    if backend is None:
        return
    if not backend.settings.listens:
        document.fault(path, f"the kind of {name!r} has no channels; use {instead} instead")
    elif backend.pool.cap < CAP_MIN:
        sentence = f"listening takes a connection, and the cap of {name!r} leaves none for calls beside it"
        document.fault(path, f"{sentence}; raise the cap to {CAP_MIN}, or use {instead}")
    elif backend.pool.max_uses == 1:
        document.fault(path, f"listening goes on, and {name!r} has `max_uses: 1`; raise it, or use {instead}")
