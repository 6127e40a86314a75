"""The way to a pooler: one channel, one exchange stream for all calls, one stream that follows the catalogue.

Only this package imports `protos`; everybody else here speaks in `Call`, `Reply`, `PoolerError` and `Offer`.
"""

from frontend.pooler_client.calls import Call, Reply
from frontend.pooler_client.client import PoolerClient

__all__ = ["Call", "PoolerClient", "Reply"]
