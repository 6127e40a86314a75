"""One event loop for the tests here that are not asynchronous themselves.

It is never closed: gRPC's own thread still wakes a loop on which a channel has lived, and would raise in another test.
"""

import asyncio

run = asyncio.Runner().run
