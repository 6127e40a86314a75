"""What a log says of an error that nobody foresaw: where it was, and no value that was at hand there."""

import subprocess
import sys

import pytest

SECRET = "hunter2-of-orders"

POOLER = """
from types import SimpleNamespace
import structlog
from pooler.logs import configure
configure(SimpleNamespace(log_format={form!r}, log_level="info"))
log = structlog.get_logger("x")
"""
FRONTEND = """
from frontend.logs import Logger, configure
configure("info", {form!r})
log = Logger("x")
"""
FAILURE = """
def fail(password):
    raise TypeError("no such thing")
try:
    fail({secret!r}[::-1])
except TypeError:
    log.exception("unforeseen failure", backend="orders")
"""


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("program", [POOLER, FRONTEND], ids=["pooler", "frontend"])
def test_a_stack_is_logged_without_the_values_that_were_at_hand(program: str, form: str) -> None:
    script = program.format(form=form) + FAILURE.format(secret=SECRET[::-1])

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert all(words in run.stderr for words in ("unforeseen failure", "orders", "TypeError", "no such thing", "fail"))
    assert SECRET not in run.stderr + run.stdout
