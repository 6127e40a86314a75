"""The leg for clients of the 2025-11-25 era, whose connections have state: conversations, by `Mcp-Session-Id`.

All of that state lives behind the pooler, so that any frontend goes on with any conversation, and one that is killed
takes nothing along. What such a client asks for is carried out as runs; their events have names that any frontend can
find again.
"""

from frontend.conversations.leg import Conversations, is_of_era
from frontend.conversations.saying import TakeBack
from frontend.conversations.streams import Streams

__all__ = ["Conversations", "Streams", "TakeBack", "is_of_era"]
