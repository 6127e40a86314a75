"""The way to a pooler: one channel, one exchange stream for all plain calls, and a stream of its own for each run.

Only this package imports `protos`; everybody else here speaks in `Call`, `PoolerError`, `Offer` and the values of
`frontend.events`.
"""

from frontend.pooler_client.calls import Call
from frontend.pooler_client.client import PoolerClient
from frontend.pooler_client.conversations import Conversations
from frontend.pooler_client.runs import Runs, Terms
from frontend.pooler_client.watch import Watches

__all__ = ["Call", "Conversations", "PoolerClient", "Runs", "Terms", "Watches"]
