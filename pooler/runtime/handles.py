"""Handles: what a caller holds of state that the pooler keeps: `KIND.POOLER.SEALED`, in visible ASCII.

A frontend reads the pooler's name in it, to know whom to ask, and nothing else: the rest is encrypted, and bound to its
kind, its pooler, its tenant and its principal. Whoever changes a character, or was not meant to have it, learns only
that there is no such handle. It never says whether what it stands for is still there: whoever keeps that does.
"""

import base64
import itertools
import re
import secrets
from collections.abc import Sequence
from typing import NoReturn

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pooler.clock import Clock
from pooler.errors import Fault, Reason

KEY_BYTES = 32

REMEDIES = {
    "cursor": "call the operation again without a cursor",
    "run": "run the operation again",
    "session": "begin a new one; what this one had not committed is rolled back",
    "conversation": "open a new one",
    "state": "call the operation again without a requestState",
}
"""By kind: what a caller can do who holds a handle that is good for nothing."""

_SHAPE = re.compile(r"([a-z]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_CHANCE_BYTES = 7
_COUNT_BYTES = 5
_NONCE_BYTES = _CHANCE_BYTES + _COUNT_BYTES
_EXPIRY_BYTES = 6
"""Of milliseconds: enough until the year 10889."""


class Sealer:
    """Makes handles and reads them. `keys`: the first seals, all open; each of 32 bytes."""

    def __init__(self, pooler_id: str, keys: Sequence[bytes], wall: Clock) -> None:
        """`pooler_id`: this pooler's name, of letters and digits. `wall`: Unix time, in seconds."""
        self.pooler_id = pooler_id
        self._wall = wall
        self._keys: list[AESGCM] = []
        # AES-GCM must never see one nonce twice under one key: seven bytes of chance tell this process from all
        # others that have the key, and five count what it seals. (Twelve of chance would do for 2³² handles only.)
        self._chance = secrets.token_bytes(_CHANCE_BYTES)
        self._count = itertools.count()
        self.rekey(keys)

    def __repr__(self) -> str:
        return f"Sealer({self.pooler_id!r}, {len(self._keys)} keys)"

    def rekey(self, keys: Sequence[bytes]) -> None:
        """Takes other keys from now on. What was sealed by a key that is not among them is unknown."""
        assert keys, "a sealer needs a key"
        self._keys = [AESGCM(key) for key in keys]

    def seal(self, kind: str, payload: bytes, tenant: str, principal: str, expires_at: float) -> str:
        """A handle that opens for this caller until `expires_at` (Unix time in seconds), and gives `payload` back."""
        assert kind in REMEDIES, f"no such kind of handle: {kind!r}"
        nonce = self._chance + next(self._count).to_bytes(_COUNT_BYTES, "big")
        expiry = round(expires_at * 1000).to_bytes(_EXPIRY_BYTES, "big")
        binding = _binding(kind, self.pooler_id, tenant, principal)
        sealed = nonce + self._keys[0].encrypt(nonce, expiry + payload, binding)
        return f"{kind}.{self.pooler_id}.{_text(sealed)}"

    def open(self, handle: str, kind: str, tenant: str, principal: str) -> bytes:
        """What the handle was sealed with.

        Raises Fault: HANDLE_UNKNOWN when it was never sealed for this kind and caller, or was changed on its way;
        HANDLE_EXPIRED when its time is over; HANDLE_LOST when another pooler has sealed it.
        """
        match = _SHAPE.fullmatch(handle)
        if match is None or match[1] != kind:
            unknown(kind)
        if match[2] != self.pooler_id:
            raise Fault(
                Reason.HANDLE_LOST,
                f"The pooler that keeps this {kind} is not this one, and cannot be reached: {REMEDIES[kind]}.",
            )
        opened = self._opened(_data(match[3]), _binding(kind, self.pooler_id, tenant, principal))
        if opened is None:
            unknown(kind)
        if int.from_bytes(opened[:_EXPIRY_BYTES], "big") <= self._wall() * 1000:
            expired(kind)
        return opened[_EXPIRY_BYTES:]

    def _opened(self, sealed: bytes, binding: bytes) -> bytes | None:
        nonce, secret = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        if len(nonce) < _NONCE_BYTES:
            return None
        for key in self._keys:
            try:
                return key.decrypt(nonce, secret, binding)
            except InvalidTag:
                continue
        return None


def unknown(kind: str) -> NoReturn:
    """Raises HANDLE_UNKNOWN: one sentence for every cause, since the causes are nobody's business."""
    raise Fault(
        Reason.HANDLE_UNKNOWN,
        f"There is no such {kind}: the handle was never issued to this caller, or has been changed; "
        f"pass it on as it came, or {REMEDIES[kind]}.",
    )


def expired(kind: str) -> NoReturn:
    """Raises HANDLE_EXPIRED, also for those who find that what a sound handle stands for is there no more."""
    raise Fault(
        Reason.HANDLE_EXPIRED,
        f"This {kind} is over: it was not used for too long, was closed, or has reached its end: {REMEDIES[kind]}.",
    )


def _binding(*parts: str) -> bytes:
    return orjson.dumps(parts)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _data(text: str) -> bytes:
    """Empty for a text that this module would never have written: base64 has several spellings of one value."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""
    return data if _text(data) == text else b""
