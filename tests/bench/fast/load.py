"""Closed loops that cost little, since they share the cores with what they measure: wrk for whatever speaks MCP.

Every answer is looked at, by the load generator itself; what follows from wrong ones is decided elsewhere.
"""

import asyncio
import json
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("call.lua")


class Missing(Exception):
    """Something to measure with, or beside, is not at hand; the message says what, and why."""


class NotRight(AssertionError):
    """Answers of ours that were wrong, or did not come; or a load generator that failed."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a load generator heard: the latencies in milliseconds, and the CPU that it needed itself, in seconds."""

    calls: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    wrong: int = 0
    broken: int = 0
    example: str = ""
    """One of the wrong answers."""


async def wrk(url: str, tool: str, keys: int, callers: int, seconds: float, seed: int) -> Heard:
    """So many callers of one tool, each asking again as soon as it has its answer. Raises Missing, NotRight."""
    options = f"-t1 -c{callers} -d{seconds:g}s --timeout 20s -s {SCRIPT} {url} -- {tool} {keys} {seed}"
    return await heard([find_wrk(), *options.split()])


def find_wrk() -> str:
    """Where wrk is. Raises Missing."""
    found = shutil.which("wrk")
    if found is None:
        raise Missing("wrk is not installed: make bench-deps")
    return found


async def heard(command: list[str]) -> Heard:
    """Runs a load generator, whose last line says what it heard. Raises NotRight when it fails."""
    before = children_cpu_seconds()
    out, errors = await output(command)
    said = json.loads(out.strip().rpartition("\n")[2])
    return Heard(**{"cpu_seconds": children_cpu_seconds() - before, "example": errors[-2000:], **said})


async def output(command: list[str]) -> tuple[str, str]:
    """What a program prints, on both ways. Raises NotRight when it fails."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, errors = await process.communicate()
    if process.returncode:
        raise NotRight(f"{command[0]} ended with {process.returncode}: {errors.decode()[-2000:]}")
    return out.decode(), errors.decode()


def children_cpu_seconds() -> float:
    """CPU of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
