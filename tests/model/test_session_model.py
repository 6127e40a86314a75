"""Random histories of a session, against a model that only knows what its caller was told and what has begun.

Whatever happens, in whatever order: one thing at a time is under way, nothing is begun after the end was said, and what
a call hears fits what became of the session.
"""

import os
from enum import Enum
from math import isnan

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pooler.core.sessions import Act, Ending, Life, Limits, SessionEvent, SessionState
from pooler.errors import Reason

LIMITS = st.builds(
    Limits,
    sessions_max=st.just(1),
    idle_seconds=st.sampled_from([1.0, 5.0]),
    lifetime_seconds=st.sampled_from([5.0, 20.0, 1000.0]),
)
RARELY = st.sampled_from([*[False] * 7, True])


class Job(Enum):
    """Where a call is that the session has taken."""

    WAITING = "waiting"
    UNDER_WAY = "under way"
    TOLD = "told"
    """Its caller has his outcome, and its work is not done."""


class SessionHistory(RuleBasedStateMachine):
    """A keeper who does what the runtime does, and a caller who may do anything."""

    @initialize(limits=LIMITS)
    def begin(self, limits):
        self.now = 1000.0
        self.limits = limits
        self.another_begins()

    @precondition(lambda self: self.life.over)
    @rule()
    def another_begins(self):
        """Else most of a history would come after its end."""
        self.life = Life(self.limits)
        self.jobs: list[tuple[Act, Job]] = []
        self.used_at = self.opened_at = float("nan")
        self.said_over = False

    def happen(self, event: SessionEvent) -> None:
        self.life.happen(event, self.now)

    @property
    def opened(self) -> bool:
        return not isnan(self.opened_at)

    @precondition(lambda self: not self.opened and not self.said_over)
    @rule()
    def it_is_opened(self):
        self.happen(SessionEvent.OPENED)
        self.opened_at = self.used_at = self.now

    @precondition(lambda self: self.opened)
    @rule(act=st.sampled_from([*[Act.CALL] * 8, Act.COMMIT, Act.ROLLBACK]))
    def somebody_calls(self, act):
        if (ending := self.life.expired(self.now)) is not None:
            self.is_cut(ending)
        reason = self.life.refusal(act)
        busy = [job for _, job in self.jobs if job is not Job.TOLD]
        if self.said_over:
            assert reason is (Reason.SESSION_IN_USE if self.closing else Reason.HANDLE_EXPIRED)
        elif busy:
            assert reason is Reason.SESSION_IN_USE
        elif self.life.failed:
            assert reason is (None if act is Act.ROLLBACK else Reason.REFUSED)
        else:
            assert reason is None
        if reason is None:
            self.happen(SessionEvent.ASKED)
            self.jobs.append((act, Job.WAITING))
            self.next_begins()

    def next_begins(self) -> None:
        """The keeper takes up what waits, as soon as nothing is under way."""
        if [job for _, job in self.jobs] != [Job.WAITING]:
            return
        ((act, _),) = self.jobs
        if self.life.failed and act is not Act.ROLLBACK:
            self.happen(SessionEvent.DROPPED)
            self.jobs.clear()
            self.used_at = self.now
            return
        if act is not Act.CALL:
            self.happen(SessionEvent.CLOSES)
            self.said_over = True
        self.jobs = [(act, Job.UNDER_WAY)]

    @property
    def closing(self) -> bool:
        return any(act is not Act.CALL and job is not Job.WAITING for act, job in self.jobs)

    @precondition(lambda self: [job for _, job in self.jobs] == [Job.UNDER_WAY] and not self.said_over)
    @rule()
    def the_caller_has_his_answer_before_the_work_is_done(self):
        """Which is noticed only when somebody asks for more."""
        self.happen(SessionEvent.TOLD)
        self.jobs = [(Act.CALL, Job.TOLD)]

    @precondition(lambda self: bool(self.jobs) and self.jobs[0][1] is not Job.WAITING and not self.closing)
    @rule(fails=st.booleans())
    def work_is_done(self, fails):
        if fails:
            self.life.fail("it failed")
        self.happen(SessionEvent.DONE)
        self.jobs.pop(0)
        if not self.jobs:
            self.used_at = self.now
        self.next_begins()

    @precondition(lambda self: self.jobs and self.jobs[-1][1] is Job.WAITING and not self.said_over)
    @rule()
    def a_waiting_caller_leaves(self):
        self.happen(SessionEvent.DROPPED)
        self.jobs.pop()

    @precondition(lambda self: self.closing)
    @rule(ending=st.sampled_from([Ending.COMMITTED, Ending.ROLLED_BACK, Ending.UNKNOWN]))
    def its_own_end_ends(self, ending):
        self.life.end(ending)
        self.happen(SessionEvent.GONE)
        self.jobs.clear()

    @precondition(lambda self: not self.life.over)
    @rule(ending=st.sampled_from([Ending.LEFT, Ending.KILLED]), really=RARELY)
    def somebody_cuts_it(self, ending, really):
        if really or self.closing:
            self.is_cut(ending)

    def is_cut(self, ending: Ending) -> None:
        if not self.closing:
            self.life.end(ending)
        self.happen(SessionEvent.CUT)
        if not self.closing:
            self.said_over = True
            self.jobs = [(act, job) for act, job in self.jobs if job is not Job.WAITING]

    @precondition(lambda self: not self.life.over)
    @rule(really=RARELY)
    def the_connection_is_lost(self, really):
        if not really:
            return
        self.life.end(Ending.LOST)
        self.happen(SessionEvent.GONE)
        self.said_over = True
        self.jobs.clear()

    @rule(seconds=st.sampled_from([0.1, 0.1, 0.5, 1.0, 4.0, 30.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @invariant()
    def its_time_is_over_exactly_by_its_bounds(self):
        if not hasattr(self, "life"):
            return
        limits, expired = self.life.limits, self.life.expired(self.now)
        if not self.opened or self.said_over:
            assert expired is None
        elif self.now >= self.opened_at + limits.lifetime_seconds:
            assert expired is Ending.OUTLIVED
        elif not self.jobs and self.now >= self.used_at + limits.idle_seconds:
            assert expired is Ending.IDLED
        else:
            assert expired is None

    @invariant()
    def what_was_said_first_of_its_end_stays(self):
        if hasattr(self, "life") and self.life.over:
            assert self.life.ending is not None
            assert self.life.state is SessionState.ENDED


SessionHistory.TestCase.settings = settings.get_profile(os.environ.get("PENSTOCK_PROFILE", "usual"))
TestASessionKeepsItsWordInEveryHistory = SessionHistory.TestCase
