"""Random histories of a pool: whatever happens, in whatever order, the core keeps its rules.

Hypothesis looks for the shortest history that breaks one and prints it as a program.
"""

import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pooler.core.fairness import Share
from pooler.core.pool import Pool
from pooler.core.rules import Fate, Rules, StartFailure
from pooler.core.slots import Priority, Waiter
from tests.model.hands import Hands
from tests.model.outside import Place

SHARES = {"large": Share(weight=4.0), "small": Share(queue_max=2, connections_max=1)}
ORDERS = ["pause", "drain", "move", "abort"]
PICK = st.integers(0, 999)
"""Chooses among those who are there, so that every history has a meaning."""
RULES = st.builds(
    Rules,
    cap=st.integers(1, 4),
    reserve=st.sampled_from([0, 0, 1]),
    warm=st.integers(0, 2),
    parallel_starts=st.integers(1, 3),
    queue_max=st.integers(2, 8),
    idle_seconds=st.sampled_from([1.0, 20.0]),
    lifetime_seconds=st.sampled_from([3.0, 50.0]),
    validate_after_seconds=st.sampled_from([0.5, 5.0]),
    max_uses=st.sampled_from([None, None, 1, 3]),
    shared_fate=st.booleans(),
    shares=st.sampled_from([{}, SHARES]),
    adaptive=st.sampled_from([False, False, False, True]),
    sharing=st.sampled_from([True, True, True, False]),
).filter(lambda rules: rules.places > 0)
LEFT = st.lists(st.integers(1, 40), unique=True, min_size=1, max_size=6)
"""Numbers of slots that a killed pooler has left: in any order, with gaps, and more of them than any cap."""
STREAMS = st.sampled_from([1, 1, 3])
ASKING = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(["default", "large", "small"]),
        "priority": st.sampled_from(Priority),
        "whole": st.sampled_from([False, False, True]),
    }
)


class PoolHistory(RuleBasedStateMachine):
    """Few rules, each with a choice of its own: with one for every event, hardly any history would have a middle."""

    @initialize(rules=RULES, jitter=st.sampled_from([0.0, 0.5, 1.0]), streams=STREAMS, left=st.just([]) | LEFT)
    def begin(self, rules, jitter, streams, left):
        self.outside = Hands(Pool(rules, lambda: jitter), streams=streams)
        self.outside.adopt(left)

    @rule(asking=st.lists(ASKING, min_size=1, max_size=4), patience=st.sampled_from([0.0, 2.0, *[1000.0] * 6]))
    def some_ask(self, asking, patience):
        now = self.outside.now
        for caller in asking:
            self.outside.ask(Waiter(now, now + patience, **caller))

    @rule(picks=st.lists(PICK, min_size=4, max_size=16), fate=st.sampled_from([Fate.SOUND, Fate.SOILED]))
    def many_things_go_well(self, picks, fate):
        for pick in picks:
            if things := self.outside.under_way():
                self.outside.goes_well(things[pick % len(things)], fate)

    @rule(pick=PICK, fate=st.sampled_from(Fate), failure=st.sampled_from(StartFailure))
    def one_thing_goes_wrong(self, pick, fate, failure):
        if things := self.outside.under_way():
            self.outside.goes_wrong(things[pick % len(things)], fate, failure)

    @rule(pick=PICK, how=st.sampled_from(["leave", "leave", "leave", "kill"]))
    def somebody_leaves(self, pick, how):
        if callers := list(self.outside.callers):
            getattr(self.outside, how)(callers[pick % len(callers)])

    @rule(pick=PICK)
    def somebody_stands_in_the_way_of_others(self, pick):
        working = [each for each in self.outside.at(Place.RUNNING, Place.STOPPING) if len(each.slot.grants) > 1]
        if working:
            self.outside.clear_behind(working[pick % len(working)])

    @rule(pick=PICK)
    def a_connection_dies_or_a_call_is_past_its_bound(self, pick):
        working = self.outside.at(Place.RUNNING, Place.STOPPING)
        if working and pick % 2:
            self.outside.stop(working[pick % len(working)])
        elif slots := list(self.outside.slots):
            self.outside.lost(slots[pick % len(slots)])

    @rule(seconds=st.sampled_from([0.1, 1.0, 1.0, 6.0, 40.0]), ringing=st.booleans(), ticking=st.booleans())
    def time_passes(self, seconds, ringing, ticking):
        self.outside.now += seconds
        if ringing:
            self.outside.expire()
        if ticking:
            self.outside.tick()

    @rule(order=st.sampled_from(ORDERS))
    def somebody_orders(self, order):
        """What was paused or drained is resumed next: a pool that serves nobody has little to tell."""
        if self.outside.pool.paused or self.outside.pool.draining:
            self.outside.resume()
        else:
            getattr(self.outside, order)()

    @rule(rules=RULES, streams=STREAMS)
    def there_are_new_rules(self, rules, streams):
        self.outside.streams = streams
        self.outside.reconfigure(rules)

    @rule(pick=PICK)
    def a_connection_is_killed(self, pick):
        if slots := list(self.outside.slots):
            self.outside.kill_connection(slots[pick % len(slots)])

    @rule(left=LEFT)
    def more_is_found_of_a_killed_pooler(self, left):
        numbers = [number for number in left if number not in self.outside.numbers]
        self.outside.adopt(numbers)

    def teardown(self):
        if hasattr(self, "outside") and self.outside.intact:
            self.outside.everything_ends_well()
            self.outside.take_the_whole_cap()


PoolHistory.TestCase.settings = settings.get_profile(os.environ.get("PENSTOCK_PROFILE", "usual"))
TestAPoolKeepsItsRulesInEveryHistory = PoolHistory.TestCase
