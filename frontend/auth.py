"""Who is calling: static bearer tokens, or the one default caller when there are none.

Tenant and principal come from the token alone, never from another header or an argument. Tokens are compared as digests
and in constant time, and are neither logged nor repeated in an answer.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from frontend.config import Settings


@dataclass(frozen=True, slots=True)
class Caller:
    """Who pays, and who asks."""

    tenant: str
    principal: str


class Gatekeeper:
    """Tells callers by the `Authorization` header of their requests."""

    def __init__(self, settings: Settings) -> None:
        self._default = Caller(settings.tenant, settings.principal)
        self._bearers = [
            (_digest(token.token.get_secret_value().encode()), Caller(token.tenant, token.principal))
            for token in settings.tokens
        ]

    @property
    def default(self) -> Caller:
        """The caller of a transport that has no headers: whoever started this process on its stdio."""
        return self._default

    @property
    def asks_for_tokens(self) -> bool:
        return bool(self._bearers)

    def admit(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller | None:
        """The caller of a request with these headers (names in lower case), or None when it may not enter."""
        if not self._bearers:
            return self._default
        credentials = [value for name, value in headers if name == b"authorization"]
        if len(credentials) != 1:
            return None
        scheme, _, token = credentials[0].partition(b" ")
        return self._bearer_of(token.strip()) if scheme.lower() == b"bearer" else None

    def _bearer_of(self, token: bytes) -> Caller | None:
        """Looks at every token whatever matches, so that the time taken says nothing."""
        digest = _digest(token)
        found: Caller | None = None
        for known, caller in self._bearers:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def _digest(token: bytes) -> bytes:
    """Tokens of equal length to compare; a token is random, so that a plain hash of it needs no salt."""
    return hashlib.sha256(token).digest()
