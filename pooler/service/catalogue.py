"""The catalogue as frontends see it: made from a configuration, and told to whoever watches it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import orjson

from pooler.config import BackendConfig, Config, OperationConfig, PromptConfig
from pooler.config.keeping import SessionOperation, session_operations, with_session
from protos.penstock.v1 import pooler_pb2 as pb

NEAR: dict[str, pb.NearScope.ValueType] = {
    "tenant": pb.NEAR_SCOPE_TENANT,
    "principal": pb.NEAR_SCOPE_PRINCIPAL,
    "shared": pb.NEAR_SCOPE_SHARED,
}


class Board:
    """The current catalogue; watchers are woken when another one is pinned up."""

    def __init__(self, config: Config) -> None:
        self.current = catalogue(config)
        self._changed = asyncio.Event()

    def publish(self, config: Config) -> None:
        """Shows the catalogue of a new configuration."""
        fresh = catalogue(config)
        if fresh.revision != self.current.revision:
            self.current = fresh
            self._changed.set()
            self._changed = asyncio.Event()

    async def follow(self, revision: str) -> AsyncIterator[pb.Catalogue]:
        """The catalogue whenever it is another one than the follower has. Without end."""
        while True:
            changed = self._changed
            if self.current.revision != revision:
                revision = self.current.revision
                yield self.current
            await changed.wait()


def catalogue(config: Config) -> pb.Catalogue:
    """What a configuration offers, in a fixed order, with a revision that is the same for the same content."""
    backends = config.backends
    operations = [_operation(name, each, backends[each.backend]) for name, each in config.operations.items()]
    for name, backend in backends.items():
        own = session_operations(name, backend.keeping, backend.settings.transactional)
        operations += [_session_operation(operation, backend) for operation in own]
    message = pb.Catalogue(
        operations=sorted(operations, key=lambda operation: operation.name),
        prompts=[_prompt(name, prompt) for name, prompt in sorted(config.prompts.items())],
    )
    message.revision = hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()[:16]
    return message


def _operation(name: str, operation: OperationConfig, backend: BackendConfig) -> pb.Operation:
    output = operation.output_schema()
    return pb.Operation(
        name=name,
        title=operation.title,
        description=operation.description,
        input_schema=orjson.dumps(with_session(operation.input_schema(), backend.keeping)),
        output_schema=orjson.dumps(output) if output is not None else b"",
        effect=pb.EFFECT_READ if operation.effect == "read" else pb.EFFECT_WRITE,
        idempotent=operation.idempotent,
        tool=operation.tool,
        resource=operation.resource or "",
        mime_type=operation.mime_type or "",
        completions=operation.completions(),
        timeout_ms=round(operation.timeout_seconds * 1000),
        queue_timeout_ms=round(backend.pool.queue_timeout_seconds * 1000),
        long=operation.long or operation.long_after_seconds is not None,
        long_after_ms=round((operation.long_after_seconds or 0) * 1000),
        watched=operation.watch is not None,
        short=operation.share,
        asks=operation.asks or operation.confirm is not None,
        near=NEAR[operation.cache.scope]
        if operation.cache is not None and operation.cache.near
        else pb.NEAR_SCOPE_UNSPECIFIED,
    )


def _session_operation(operation: SessionOperation, backend: BackendConfig) -> pb.Operation:
    return pb.Operation(
        name=operation.name,
        title=operation.title,
        description=operation.description,
        input_schema=orjson.dumps(operation.input_schema),
        output_schema=orjson.dumps(operation.output_schema),
        effect=pb.EFFECT_WRITE,
        tool=True,
        timeout_ms=round(operation.timeout_seconds * 1000),
        queue_timeout_ms=round(backend.pool.queue_timeout_seconds * 1000),
    )


def _prompt(name: str, prompt: PromptConfig) -> pb.Prompt:
    return pb.Prompt(
        name=name,
        title=prompt.title,
        description=prompt.description,
        arguments=[
            pb.PromptArgument(
                name=argument,
                description=settings.description,
                required=settings.required,
                completion=settings.complete or "",
            )
            for argument, settings in prompt.arguments.items()
        ],
        text=prompt.text or "",
        operation=prompt.operation or "",
    )
