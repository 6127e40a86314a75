"""The fixture's tools that take their time, some of which ask meanwhile."""

import asyncio

from forms import Handler, Notify, Params, Refusal, Result, asked, content, filled, form, meta, text

TASKS = "io.modelcontextprotocol/tasks"


def greet(params: Params, note: Notify) -> Result:
    return content(text(f"Hello, {params['name']}!"))


async def slow_compute(params: Params, note: Notify) -> Result:
    await asyncio.sleep(params["seconds"])
    return content(text(f"Computed {params['label']} for {params['seconds']} s."))


async def failing_job(params: Params, note: Notify) -> Result:
    """Only for clients that know tasks."""
    if TASKS not in meta(params).get("clientCapabilities", {}).get("extensions", {}):
        needed: Result = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
        raise Refusal(-32021, f"This tool is for clients that declare {TASKS}", needed)
    await asyncio.sleep(0.2)
    return content(text("This job always fails."), isError=True)


async def protocol_error_job(params: Params, note: Notify) -> Result:
    await asyncio.sleep(0.2)
    raise Refusal(-32603, "This job always ends in a protocol error", None)


def confirm_delete(params: Params, note: Notify) -> Result:
    if (given := filled(params, "confirm")) is None:
        return asked(confirm=form(f"Delete {params['filename']}?", confirm="boolean"))
    return content(text("Deleted." if given.get("confirm") else "Kept."))


def multi_input(params: Params, note: Notify) -> Result:
    first, second = filled(params, "first"), filled(params, "second")
    if first is None or second is None:
        return asked(first=form("Who is first?", name="string"), second=form("Who is second?", name="string"))
    return content(text(f"{first.get('name')} before {second.get('name')}."))


async def test_tool_with_task(params: Params, note: Notify) -> Result:
    """Asks at once, and then takes so long that it becomes a task."""
    if (given := filled(params, "user_name")) is None:
        return asked(user_name=form("What is your name?", name="string"))
    await asyncio.sleep(1.5)
    return content(text(f"Hello, {given.get('name')}, after a while."))


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        greet,
        slow_compute,
        failing_job,
        protocol_error_job,
        confirm_delete,
        multi_input,
        test_tool_with_task,
    )
}
