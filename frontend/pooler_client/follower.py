"""Follows the pooler's catalogue: hands over each new revision, and reconnects for as long as it lives.

It keeps no copy: what was handed over last stays valid while the pooler is away.
"""

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc

from frontend.auth import Caller
from frontend.logs import Logger
from frontend.operations import Offer
from frontend.pooler_client.convert import context_of, offer_of
from frontend.pooler_client.way import cancelled_by_peer, describe
from protos.penstock.v1 import pooler_pb2 as pb

if TYPE_CHECKING:
    # A class that exists for type checkers only.
    from protos.penstock.v1.pooler_pb2_grpc import PoolerServiceAsyncStub

log = Logger(__name__)

PAUSE_SECONDS_FIRST = 0.1
PAUSE_SECONDS_MAX = 5.0


class Follower:
    """Watches one pooler's catalogue. `publish` is called on the loop with each revision, and must not block."""

    def __init__(self, stub: "PoolerServiceAsyncStub", caller: Caller, publish: Callable[[Offer], None]) -> None:
        self._stub = stub
        self._caller = caller
        self._publish = publish
        self._revision = ""
        self._pause_seconds = PAUSE_SECONDS_FIRST

    async def run(self) -> None:
        """Never returns; ends by being cancelled."""
        while True:
            cause = await self._watch()
            pause = random.uniform(0.5, 1.0) * self._pause_seconds  # noqa: S311 - jitter, no secret
            self._pause_seconds = min(self._pause_seconds * 2, PAUSE_SECONDS_MAX)
            log.info("catalogue not followed", cause=cause, again_in_seconds=round(pause, 2))
            await asyncio.sleep(pause)

    async def _watch(self) -> str:
        """Follows until the stream ends; says why it did."""
        request = pb.WatchCatalogueRequest(context=context_of(self._caller), revision=self._revision)
        # While nobody listens gRPC itself tries again, with a back-off that the channel bounds.
        stream = self._stub.WatchCatalogue(request, wait_for_ready=True)
        try:
            async for catalogue in stream:
                self._take(offer_of(catalogue))
        except grpc.RpcError as error:
            return describe(error)
        except asyncio.CancelledError as error:
            if not cancelled_by_peer(error):
                raise
        except Exception as error:  # whatever a catalogue holds, the next one must be taken
            log.exception("catalogue not taken")
            return f"a catalogue that cannot be read: {error}"
        finally:
            stream.cancel()
        return "the pooler ended the stream"

    def _take(self, offer: Offer) -> None:
        self._publish(offer)
        self._revision = offer.revision
        self._pause_seconds = PAUSE_SECONDS_FIRST
        log.info(
            "catalogue taken", revision=offer.revision, operations=len(offer.operations), prompts=len(offer.prompts)
        )
