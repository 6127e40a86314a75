"""How long random histories are: `PENSTOCK_PROFILE=soak pytest --timeout 0 tests/model` for a night."""

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.model.outside")

_SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much]
settings.register_profile("usual", max_examples=300, stateful_step_count=60, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("soak", settings.get_profile("usual"), max_examples=20_000, stateful_step_count=100)
