"""The embedded sample: a SQLite order book, a slow-starting legacy worker, and the configuration of both."""
