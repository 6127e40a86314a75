"""When a load test's calls come: fixed by the plan and the seed, at the rates that were asked for."""

from collections import Counter
from itertools import pairwise
from random import Random
from statistics import fmean, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.loadtest.calls import arrivals
from pooler.loadtest.plan import CallSpec, Plan, Step, TenantSpec, Vanish
from pooler.loadtest.schedule import into, moments

RATES = st.floats(min_value=0, max_value=5000)


def times(*steps: Step, pattern="even", seed=1):
    return [(index, at) for index, at in moments(steps, pattern, Random(seed))]


def plan(**changes) -> Plan:
    return Plan.model_validate({"calls": [CallSpec(operation="a")], **changes})


def test_even_calls_come_at_equal_distances_in_the_middle_of_theirs():
    assert [round(at, 6) for _, at in times(Step(rate=4, seconds=1))] == [0.125, 0.375, 0.625, 0.875]


def test_each_step_has_its_own_rate_and_a_pause_has_no_calls():
    counted = Counter(index for index, _ in times(*(Step(rate=rate, seconds=2) for rate in (10, 0, 30))))

    assert counted == {0: 20, 2: 60}


def test_a_ramp_from_nothing_has_half_the_calls_of_its_end_and_most_of_them_late():
    ramp = [at for _, at in times(Step(rate=0, to=100, seconds=10))]

    assert len(ramp) == 500
    assert len([at for at in ramp if at < 5]) == 125  # a quarter of the area under the ramp


def test_poisson_calls_have_gaps_whose_spread_is_their_mean():
    gaps = [
        after - before for (_, before), (_, after) in pairwise(times(Step(rate=200, seconds=200), pattern="poisson"))
    ]

    assert fmean(gaps) == pytest.approx(1 / 200, rel=0.02)
    assert pvariance(gaps) == pytest.approx(1 / 200**2, rel=0.05)


@given(
    rate=RATES, to=RATES, seconds=st.floats(min_value=0.1, max_value=1000), share=st.floats(min_value=0, max_value=1)
)
def test_the_place_of_a_call_on_a_ramp_is_where_so_many_are_to_be_expected(rate, to, seconds, share):
    step = Step(rate=rate, to=to, seconds=seconds)

    at = into(step, share * step.calls)

    assert 0 <= at <= seconds
    expected = rate * at + (to - rate) / seconds * at**2 / 2
    assert expected == pytest.approx(share * step.calls, rel=1e-6, abs=1e-6)


@given(
    st.lists(
        st.tuples(RATES.filter(lambda rate: rate < 200), RATES.filter(lambda rate: rate < 200)), min_size=1, max_size=4
    )
)
def test_moments_are_in_order_and_inside_their_step_whatever_the_rates(rates):
    steps = [Step(rate=rate, to=to, seconds=1.5) for rate, to in rates]
    made = times(*steps, pattern="poisson")

    assert made == sorted(made, key=lambda each: each[1])
    assert all(index * 1.5 - 1e-9 <= at <= (index + 1) * 1.5 + 1e-9 for index, at in made)


def test_the_same_seed_makes_the_same_calls_and_another_one_others():
    steps = (Step(rate=50, seconds=2),)
    mix = {"calls": [CallSpec(operation="a", arguments={"n": {"range": [1, 1000]}})]}

    once, again, other = (list(arrivals(plan(**mix, seed=seed), steps)) for seed in (1, 1, 2))

    assert once == again
    assert [call.at for call in once] != [call.at for call in other]
    assert [call.arguments for call in once] != [call.arguments for call in other]


def test_moments_do_not_depend_on_the_mix():
    steps = (Step(rate=50, seconds=2),)
    two = [CallSpec(operation="a"), CallSpec(operation="b", arguments={"n": {"zipf": 10}})]

    plain, mixed = (list(arrivals(plan(calls=calls), steps)) for calls in ([CallSpec(operation="a")], two))

    assert [call.at for call in plain] == [call.at for call in mixed]


def test_operations_tenants_and_those_who_leave_come_by_their_weights():
    made = list(
        arrivals(
            plan(
                calls=[CallSpec(operation="a", weight=3), CallSpec(operation="b", priority="interactive")],
                tenants={"shop": TenantSpec(weight=4), "reports": TenantSpec(weight=1, priority="batch")},
                vanish=Vanish(share=0.25, after_ms=(10, 30), by="drop"),
            ),
            (Step(rate=400, seconds=25),),
        )
    )

    assert len([call for call in made if call.operation == "a"]) / len(made) == pytest.approx(0.75, abs=0.02)
    assert len([call for call in made if call.tenant == "shop"]) / len(made) == pytest.approx(0.8, abs=0.02)
    leaving = [call for call in made if call.leaves_after is not None]
    assert len(leaving) / len(made) == pytest.approx(0.25, abs=0.02)
    assert all(0.01 <= (call.leaves_after or 0) <= 0.03 and call.drops for call in leaving)
    assert all(call.batch == (call.tenant == "reports" and call.operation == "a") for call in made)
