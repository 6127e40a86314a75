"""The short way for a plain `tools/call`: answered before a scope, a task or the SDK's machinery exist for it.

It only ever gives answers that the long way would give too: whatever is not plainly right is handed on to it as the
whole request, so that every refusal is the SDK's own. Nothing in this package imports the SDK, so that a cold process
answers its first call without that import. `protocol` is for our own server, `asgi` for anybody else's.
"""

from frontend.hot.asgi import answer_plainly
from frontend.hot.desk import Desk
from frontend.hot.heads import Form
from frontend.hot.watch import Watch

__all__ = ["Desk", "Form", "Watch", "answer_plainly"]
