"""What one configuration changes of another: what a reload answers and logs. Compares only; it carries nothing out."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter

from pooler.config.model import Config

FIXED = ("listen", "http", "admin.listen", "state_dir", "store", "request_bytes_max", "vanished_seconds")
"""Keys of `pooler` that stay what they were until a restart."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reload has changed, the backends by name."""

    backends_added: tuple[str, ...]
    backends_removed: tuple[str, ...]
    backends_changed: tuple[str, ...]
    caps: Mapping[str, tuple[int, int]]
    """By backend: the cap that held before, an order's included, and the one that holds now, where they differ."""
    operations: int
    """How many there are now."""
    operations_before: int
    restart_needed: tuple[str, ...]
    """Keys of `pooler` whose new value holds only after a restart."""


def changes(before: Config, after: Config, caps: Mapping[str, int]) -> Changes:
    """`caps`: those that hold before, by backend."""
    staying = sorted(before.backends.keys() & after.backends.keys())
    return Changes(
        backends_added=tuple(sorted(after.backends.keys() - before.backends.keys())),
        backends_removed=tuple(sorted(before.backends.keys() - after.backends.keys())),
        backends_changed=tuple(name for name in staying if before.backends[name] != after.backends[name]),
        caps={
            name: (caps[name], after.backends[name].pool.cap)
            for name in staying
            if caps[name] != after.backends[name].pool.cap
        },
        operations=len(after.operations),
        operations_before=len(before.operations),
        restart_needed=tuple(key for key in FIXED if attrgetter(key)(after.pooler) != attrgetter(key)(before.pooler)),
    )
