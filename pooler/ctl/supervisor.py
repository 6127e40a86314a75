"""Runs a program beside others: its log lines forwarded, its readiness awaited, its end noticed and never forgotten.

It restarts nothing: what dies is reported, and the rest is ended in order.
"""

import asyncio
import contextlib
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping, Sequence

import orjson

from pooler.ctl.ports import connects

LINE_BYTES_MAX = 1 << 20
"""A log line; a longer one is cut by the reader, not by the program."""
POLL_SECONDS = 0.05

_LISTENING = re.compile(r"\blistening\s(.*\baddress=.*)")
_FACT = re.compile(r"\b(\w+)=(\S+)")


class ProgramError(Exception):
    """A program that did not start, or ended by itself. The message says which and how."""


class Program:
    """One child process. Made by `start`; whoever starts it calls `stop`."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process
        self._listening: dict[str, str] = {}
        self._forwarding = asyncio.create_task(self._forward())

    def __repr__(self) -> str:
        return f"Program({self.name!r}, pid={self._process.pid}, status={self._process.returncode})"

    @classmethod
    async def start(cls, name: str, command: Sequence[str], environment: Mapping[str, str]) -> "Program":
        """Starts it in a process group of its own: Ctrl-C is for the supervisor, which ends its programs in order."""
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, process_group=0, limit=LINE_BYTES_MAX
        )
        return cls(name, process)

    async def ready(self, address: str, timeout_seconds: float, name: str = "address") -> str:
        """Waits until it listens, and says where. Raises ProgramError when it ends first, or takes too long.

        A fixed address is tried; port 0 is learned from the line that the program logs, by the address's name there.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                while not (where := self._listening.get(name) if address.endswith(":0") else await connects(address)):
                    if self._process.returncode is not None:
                        raise ProgramError(await self._obituary("before it was ready"))
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise ProgramError(f"the {self.name} does not listen at {address} after {timeout_seconds:g} s") from None
        return where

    async def ended(self) -> str:
        """Waits until it ends, and says how."""
        await self._process.wait()
        return await self._obituary("by itself")

    async def stop(self, grace_seconds: float) -> None:
        """Asks it to end, and after the grace ends it."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(grace_seconds):
                    await self._process.wait()
            except TimeoutError:
                print(f"the {self.name} did not end within {grace_seconds:g} s and was killed", file=sys.stderr)
                self.kill()
                await self._process.wait()
        await self._forwarding

    def kill(self) -> None:
        """Ends it at once; it has no last words."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def reload(self) -> None:
        """Tells it to read its configuration again."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGHUP)

    async def _obituary(self, when: str) -> str:
        await self._forwarding
        status = self._process.returncode
        how = f"was killed by signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
        return f"the {self.name} {how} {when}; its last lines are above"

    async def _forward(self) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # the reader has dropped a line beyond its bound
                line = b"(a line of more than 1 MiB)\n"
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._listening = self._listening or listening(text)
            print(f"{self.name:8} │ {text}", file=sys.stderr, flush=True)


def listening(line: str) -> dict[str, str]:
    """The addresses in a log line that says where a program listens, by name, in either form of log; or none."""
    if not line.startswith("{"):
        return dict(_FACT.findall(match[1])) if (match := _LISTENING.search(line)) else {}
    try:
        facts = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    known = facts if facts.get("event") == "listening" and "address" in facts else {}
    return {name: value for name, value in known.items() if isinstance(value, str)}
