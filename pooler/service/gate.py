"""Who may use the DBA's plane, and what for: bearer tokens, the owner of a socket, or whoever reaches the address.

Tokens are compared as digests and in constant time; none is logged or repeated. It knows nothing of what an order does.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

import grpc
import structlog

from pooler.config.model import Administrator
from pooler.errors import Fault, Reason
from pooler.runtime.record import Actor

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]

ABSENT = (
    "Administrators are asked for their token here, and none came: send `authorization: Bearer TOKEN`. "
    "The penstock command takes it from PENSTOCK_ADMIN_TOKEN, or from a file by --token-file."
)
UNKNOWN = "This token is nobody's, as far as pooler.admin.tokens says. It may have been replaced by a newer one."


class Bearer(NamedTuple):
    """An administrator, as his token tells."""

    digest: bytes
    name: str
    orders: bool


class Gate:
    """Open to everybody until administrators are installed. `owner`: whose socket it is, where that guards it."""

    def __init__(self) -> None:
        self.owner = ""
        self._bearers: Sequence[Bearer] = ()

    def install(self, administrators: Iterable[Administrator]) -> None:
        """Who may come from now on."""
        self._bearers = [
            Bearer(_digest(each.token.get_secret_value()), each.name, each.may == "order") for each in administrators
        ]

    def admit(self, context: Context, order: bool) -> Actor:
        """Who calls. `order`: whether to change something. Raises Fault when that is not for him."""
        source = unquote(context.peer()).rstrip(":")
        if not self._bearers:
            return Actor(self.owner or source, source)
        bearer = self._bearer(context, source)
        if order and not bearer.orders:
            log.warning("an order was refused", who=bearer.name, source=source)
            sentence = f"The token of {bearer.name!r} is for looking only (pooler.admin.tokens: `may: look`)."
            raise Fault(Reason.NOT_PERMITTED, sentence)
        return Actor(bearer.name, source)

    def _bearer(self, context: Context, source: str) -> Bearer:
        credentials = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        if not credentials:
            raise Fault(Reason.CREDENTIAL_REQUIRED, ABSENT)
        scheme, _, token = str(credentials[0]).partition(" ")
        if len(credentials) == 1 and scheme.lower() == "bearer" and (found := self._whose(token.strip())) is not None:
            return found
        log.warning("an unknown token was refused", source=source)
        raise Fault(Reason.CREDENTIAL_REQUIRED, UNKNOWN)

    def _whose(self, token: str) -> Bearer | None:
        """Looks at every bearer whatever matches, so that the time taken says nothing."""
        digest = _digest(token)
        found = None
        for bearer in self._bearers:
            if hmac.compare_digest(bearer.digest, digest):
                found = bearer
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
