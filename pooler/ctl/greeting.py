"""What `penstock up` says when both programs run: that it works, how long it took, and how to connect.

It proves the whole line with a request of its own: the demo's call, or the list of tools.
"""

import asyncio
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from pooler.ctl import paste
from pooler.ctl.plan import Plan
from pooler.ctl.probe import Answer, ProbeError, request
from pooler.ctl.reach import Reach
from pooler.service.admin_client import AdminClient
from pooler.service.client import CallError

BackendState = dict[str, Any]

DEMO_TOOL = "loan_balance"
DEMO_ARGUMENTS = {"loan": "L-1001"}
REQUEST_SECONDS = 60.0
ASK_SECONDS = 5.0
POLL_SECONDS = 0.1
PARTS = (("queue", "queue_ms"), ("start", "start_ms"), ("reset", "reset_ms"), ("backend", "backend_ms"))


async def greet(plan: Plan, mcp_address: str, pooler_address: str, admin_address: str, begun: float) -> None:
    """Warms up, proves the line, says where it is. Raises ProbeError when nothing comes through."""
    console = Console(highlight=False, soft_wrap=True)
    states = await _warm(plan, admin_address)
    console.print(f"\nwarm after {time.monotonic() - begun:.1f} s: {_warmth(states)}")
    if plan.demo:
        await asyncio.to_thread(_call, console, plan, mcp_address)
    else:
        await asyncio.to_thread(_list, console, plan, mcp_address)
    url = f"http://{mcp_address}/mcp"
    console.print(f"\nMCP is at [bold]{url}[/bold]; the pooler's gRPC at {pooler_address}. Ctrl-C ends both.")
    elsewhere = None if pooler_address == plan.pooler else pooler_address
    for place, snippet in paste.snippets(url, elsewhere, None if plan.demo else plan.file):
        console.print(f"\n[bold]{place}[/bold]")
        console.print(snippet, markup=False)


async def _warm(plan: Plan, address: str) -> list[BackendState]:
    """Waits until each backend has its warm connections, or cannot start any: one that is down holds nobody up."""
    pools = {name: backend.pool for name, backend in plan.config.backends.items()}
    deadline = time.monotonic() + max(pool.start_timeout_seconds for pool in pools.values())
    tokens = plan.config.pooler.admin.tokens
    token = tokens[0].token.get_secret_value() if tokens else ""
    with Reach(address, token, ASK_SECONDS).client() as client:
        while True:
            states = await asyncio.to_thread(_states, client)
            cold = [state for state in states if _is_warming(state, pools[state["name"]].warm)]
            if not cold or time.monotonic() > deadline:
                return states
            await asyncio.sleep(POLL_SECONDS)


def _is_warming(state: BackendState, warm: int) -> bool:
    """Whether there is something to wait for: fewer connections than are kept warm, and no failed start so far."""
    return bool(state["idle"] + state["in_use"] < warm and not state["failure"])


def _states(client: AdminClient) -> list[BackendState]:
    try:
        snapshot = client.snapshot([], [], 0, ASK_SECONDS)
        return [each["backend"] for each in snapshot["backends"]]
    except CallError as error:
        raise ProbeError(error.message) from error


def _warmth(states: list[BackendState]) -> str:
    return ", ".join(
        f"{state['name']} {state['idle'] + state['in_use']} of {state['cap']} connections"
        if not state["failure"]
        else f"{state['name']} not serving ({state['failure']})"
        for state in states
    )


def _call(console: Console, plan: Plan, address: str) -> None:
    """The demo's own call, through MCP, gRPC, the pool and the worker, and back."""
    parameters: dict[str, Any] = {"name": DEMO_TOOL, "arguments": DEMO_ARGUMENTS}
    answer = request(address, "tools/call", parameters, REQUEST_SECONDS, plan.token)
    if answer.result.get("isError"):
        raise ProbeError(f"the demo's own call failed: {_text(answer)}")
    arguments = " ".join(f"{key}={value}" for key, value in DEMO_ARGUMENTS.items())
    console.print(f"\na first call, {DEMO_TOOL} {arguments}:")
    console.print(f"  {_text(answer)}", markup=False)
    console.print(_times(answer))


def _list(console: Console, plan: Plan, address: str) -> None:
    """The proof for a configuration of somebody's own, whose data is nobody else's business: a list of its tools."""
    answer = request(address, "tools/list", {}, REQUEST_SECONDS, plan.token)
    names = [tool["name"] for tool in answer.result.get("tools", [])]
    console.print(f"\nMCP clients see {len(names)} tools: {', '.join(names)}", markup=False)


def _text(answer: Answer) -> str:
    return " ".join(block.get("text", "") for block in answer.result.get("content", []))


def _times(answer: Answer) -> Table:
    """Where the time went; the wire is what the client waited beyond what the pooler accounts for."""
    timing = answer.result.get("_meta", {}).get("penstock/timing", {})
    known = [(name, float(timing.get(key, 0.0))) for name, key in PARTS]
    wire = max(0.0, answer.elapsed_ms - sum(value for _, value in known))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in (*(name for name, _ in known), "wire", "all"):
        table.add_column(name, justify="right")
    table.add_row(*(f"{value:.1f} ms" for value in (*(value for _, value in known), wire, answer.elapsed_ms)))
    return table
