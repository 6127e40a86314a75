"""`penstock top`: everything live on one screen, and orders by keys.

`keys` reads the keyboard, `feed` the pooler, `model` decides what a key means, `screen` shows it, `program` joins them.
"""

from pooler.ctl.top.program import top

__all__ = ["top"]
