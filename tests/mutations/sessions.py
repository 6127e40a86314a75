"""Breaks of what sessions promise."""

from tests.mutations.change import Break

LIFE, SESSIONS = "pooler/core/sessions.py", "pooler/runtime/sessions.py"
DESKS, DISPATCH = "pooler/runtime/desks.py", "pooler/runtime/dispatch.py"

BREAKS = (
    Break(
        20,
        "lets a session idle to the end of its lifetime",
        LIFE,
        "return min(self._expires_at, self._idle_since + self.limits.idle_seconds)",
        "return self._expires_at",
    ),
    Break(
        20,
        "counts the time of a call as idle",
        LIFE,
        "        if self.state is SessionState.IDLE:\n            self._idle_since = now",
        "        if self.state is not SessionState.IDLE:\n            self._idle_since = now",
    ),
    Break(
        20,
        "runs a call beside its session, when that is over or in use",
        SESSIONS,
        "            self.tell(turn, self._refused(reason))\n            return\n",
        "            self.driver.submit(turn)\n            return\n",
    ),
    Break(
        20,
        "keeps what was done in a session that idles out",
        SESSIONS,
        "kit.adapter.rollback(connection), self.driver.bounds.cancel",
        "kit.adapter.commit(connection), self.driver.bounds.cancel",
    ),
    Break(
        20,
        "takes calls into a transaction that has failed",
        SESSIONS,
        '        if self.sentences.transactional and connection.transaction != "open":',
        '        if self.sentences.transactional and connection.transaction == "nothing":',
    ),
    Break(
        20,
        "calls a commit refused whose answer never came",
        SESSIONS,
        "return failure.started and failure.kind in (FailureKind.DEAD, FailureKind.BUG)",
        "return False",
    ),
    Break(
        20,
        "cuts a commit short when its caller leaves",
        "pooler/runtime/holds.py",
        "        return self.act is Act.CALL\n",
        "        return True\n",
    ),
    Break(
        20,
        "takes a handle of an earlier process for one of its own",
        DESKS,
        "        if boot != self._boot:\n            raise restarted()\n",
        "",
    ),
    Break(
        31,
        "refuses the calls that would bring a transaction to its end",
        DISPATCH,
        "        if self.draining and not session:",
        "        if self.draining:",
    ),
)
