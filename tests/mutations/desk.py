"""The breaks of who may administer a pooler, of what is put on record, and of what asks before it orders."""

from tests.mutations.change import Break

GATE, PLANE, RECORD = "pooler/service/gate.py", "pooler/service/admin_plane.py", "pooler/runtime/record.py"
MODEL = "pooler/ctl/top/model.py"

BREAKS = (
    Break(
        33, "lets those order who may only look", GATE, "        if order and not bearer.orders:", "        if False:"
    ),
    Break(
        33,
        "takes every token for somebody's",
        GATE,
        "            if hmac.compare_digest(bearer.digest, digest):",
        "            if bearer:",
    ),
    Break(
        33,
        "takes the last of several tokens",
        GATE,
        "        if len(credentials) == 1 and scheme.lower()",
        "        scheme, _, token = str(credentials[-1]).partition(' ')\n        if scheme.lower()",
    ),
    Break(33, "lets everybody connect to the socket of administrators", PLANE, "listen, private=True)", "listen)"),
    Break(
        33,
        "obeys at the data plane's address as well",
        PLANE,
        "        return self._settings.listen is not None",
        "        return False",
    ),
    Break(
        33,
        "begins its record anew with each start",
        RECORD,
        "        for file in (self._before, self._file):",
        "        for file in ():",
    ),
    Break(
        33,
        "orders at the key, before anybody has said yes",
        MODEL,
        'if key == ("enter" if question.number else "y") and',
        "if",
    ),
)
