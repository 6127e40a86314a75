"""Answers that are shared: `room` has all of them, `reading` gives one operation's out or has them made, and `flight`
is the call of the backend that is made for everybody at once. `writing` knows which answers a write makes wrong, `tags`
what they are called, and `hearing` is told of changes by the backend itself. What may be shared is decided in `core`.
"""
