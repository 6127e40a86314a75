"""The breaks of the wire: of exchanges, of what carries them, and of writes that are sent again."""

from tests.mutations.change import Break

WRITES, EXCHANGE, SENDING = "pooler/service/writes.py", "pooler/service/exchange.py", "pooler/service/sending.py"

BREAKS = (
    Break(
        38,
        "keeps the places of writers who have vanished, as if their work had begun",
        WRITES,
        "        if write.waits:\n",
        "        if False:\n",
    ),
    Break(
        37,
        "goes on reading from a client that does not read",
        EXCHANGE,
        "        elif waiting > WAITING_BYTES_MAX:\n",
        "        elif False:\n",
    ),
    Break(
        37,
        "takes on calls for whoever does not take their results",
        EXCHANGE,
        "        if self._sending.untaken_bytes > UNTAKEN_BYTES_MAX:\n",
        "        if False:\n",
    ),
    Break(
        37,
        "sends a result whatever credit it has",
        SENDING,
        "min(self.sent + min(PIECE_BYTES, self.credit), len(self.body))",
        "min(self.sent + PIECE_BYTES, len(self.body))",
    ),
)
