"""Every way in which a call or an order can fail, as one closed list: the reasons of `protos/penstock/v1/pooler.proto`.

Rooms below raise or return a `Fault`; only `service/` turns it into a gRPC status. A fault's message is a sentence for
the caller: which backend, what happened, how many, what to do. It never holds a stack, a connection string or a secret.
"""

from collections.abc import Mapping
from enum import StrEnum


class Reason(StrEnum):
    """Why a call or an order failed. The members are the wire's, without their prefix."""

    DEADLINE_REQUIRED = "DEADLINE_REQUIRED"
    INVALID_ARGUMENTS = "INVALID_ARGUMENTS"
    OPERATION_NOT_FOUND = "OPERATION_NOT_FOUND"
    QUEUE_FULL = "QUEUE_FULL"
    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    QUEUE_TIMEOUT = "QUEUE_TIMEOUT"
    START_TIMEOUT = "START_TIMEOUT"
    WORK_TIMEOUT = "WORK_TIMEOUT"
    SHED = "SHED"
    START_FAILED = "START_FAILED"
    CONNECTION_LOST = "CONNECTION_LOST"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    PAUSED = "PAUSED"
    KILLED = "KILLED"
    DRAINING = "DRAINING"
    REFUSED = "REFUSED"
    PROTOCOL = "PROTOCOL"
    BUSY = "BUSY"
    RESULT_TOO_LARGE = "RESULT_TOO_LARGE"
    CANCELLED = "CANCELLED"
    BACKEND_NOT_FOUND = "BACKEND_NOT_FOUND"
    CONNECTION_NOT_FOUND = "CONNECTION_NOT_FOUND"
    CALL_NOT_FOUND = "CALL_NOT_FOUND"
    INVALID_ORDER = "INVALID_ORDER"
    INVALID_CONFIGURATION = "INVALID_CONFIGURATION"
    HANDLE_UNKNOWN = "HANDLE_UNKNOWN"
    HANDLE_EXPIRED = "HANDLE_EXPIRED"
    HANDLE_LOST = "HANDLE_LOST"
    SESSION_IN_USE = "SESSION_IN_USE"
    TOO_MANY_SESSIONS = "TOO_MANY_SESSIONS"
    INPUT_UNAVAILABLE = "INPUT_UNAVAILABLE"
    INPUT_DECLINED = "INPUT_DECLINED"
    SPOOL_FULL = "SPOOL_FULL"
    STORE_FULL = "STORE_FULL"
    CREDENTIAL_REQUIRED = "CREDENTIAL_REQUIRED"
    NOT_PERMITTED = "NOT_PERMITTED"
    INTERNAL = "INTERNAL"


class Fault(Exception):
    """A call's or an order's failure: its reason, a sentence for the caller, and the reason's own facts.

    `metadata` holds short strings only: `retry_after_ms`, `mcp_code`, `mcp_data`, `backend`.
    """

    def __init__(self, reason: Reason, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = metadata or {}

    def __repr__(self) -> str:
        return f"Fault({self.reason}, {self.message!r}, {dict(self.metadata)!r})"
