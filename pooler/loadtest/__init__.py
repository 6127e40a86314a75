"""`penstock loadtest`: an open loop of calls against a pooler or an MCP address, what came of them, and how to read it.

It generates, measures and reports. It reaches a pooler over the wire alone, as any caller does, and knows nothing of
what runs inside of one.
"""
