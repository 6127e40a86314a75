"""The fixture that the public MCP conformance suite expects of a server, as a worker behind a pooler.

Everything the suite looks for (texts, images, error codes) is here and nowhere else: it crosses the worker protocol,
the pool, gRPC and the frontend, none of which know of it. Standard library only; one process per connection.
"""

import asyncio
import json
import sys
from functools import partial
from typing import Any

import asking
import talking
import tasking
from forms import Handler, Notify, Params, Refusal, Result, content, contents, embedded, image, messages, png, text, wav

# Tools


def test_simple_text(params: Params, note: Notify) -> Result:
    return content(text("This is a simple text response for testing."))


def test_image_content(params: Params, note: Notify) -> Result:
    return content(image())


def test_audio_content(params: Params, note: Notify) -> Result:
    return content({"type": "audio", "data": wav(), "mimeType": "audio/wav"})


def test_embedded_resource(params: Params, note: Notify) -> Result:
    return content(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))


def test_multiple_content_types(params: Params, note: Notify) -> Result:
    data = json.dumps({"test": "data", "value": 123})
    mixed = embedded("test://mixed-content-resource", "application/json", data)
    return content(text("Multiple content types test:"), image(), mixed)


def test_error_handling(params: Params, note: Notify) -> Result:
    return content(text("This tool intentionally returns an error for testing"), isError=True)


async def test_tool_with_logging(params: Params, note: Notify) -> Result:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        note("log", {"level": "info", "message": words})
        await asyncio.sleep(0.05)
    return content(text("Three messages were logged."))


async def test_tool_with_progress(params: Params, note: Notify) -> Result:
    for progress in (0, 50, 100):
        note("progress", {"progress": progress, "total": 100})
        await asyncio.sleep(0.3)  # a pooler tells of progress a few times a second
    return content(text("Progress was reported three times."))


def test_missing_capability(params: Params, note: Notify) -> Result:
    declared = params.get("_meta", {}).get("clientCapabilities", {})
    if "sampling" not in declared:
        raise Refusal(-32021, "This tool needs a client that can sample", {"requiredCapabilities": {"sampling": {}}})
    return content(text("The client can sample."))


def test_logging_tool(params: Params, note: Notify) -> Result:
    note("log", {"level": "info", "message": "This message is for clients that ask for messages"})
    return content(text("One message was logged."))


def json_schema_2020_12_tool(params: Params, note: Notify) -> Result:
    return content(text(f"Reach them by {params.get('contactMethod', 'email')}."))


def test_header_parameter(params: Params, note: Notify) -> Result:
    return content(text(f"The region is {params['region']}."))


# Resources


def static_text(params: Params, note: Notify) -> Result:
    return contents("test://static-text", "text/plain", text="This is the content of the static text resource.")


def static_binary(params: Params, note: Notify) -> Result:
    return contents("test://static-binary", "image/png", blob=png())


def template_data(params: Params, note: Notify) -> Result:
    number = params["id"]
    data = json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"})
    return contents(f"test://template/{number}/data", "application/json", text=data)


# Prompts


def simple_prompt(params: Params, note: Notify) -> Result:
    return messages(text("This is a simple prompt for testing."))


def prompt_with_arguments(params: Params, note: Notify) -> Result:
    return messages(text(f"Prompt with arguments: arg1='{params['arg1']}', arg2='{params['arg2']}'"))


def prompt_with_embedded_resource(params: Params, note: Notify) -> Result:
    resource = embedded(params["resourceUri"], "text/plain", "Embedded resource content for testing.")
    return messages(resource, text("Please process the embedded resource above."))


def prompt_with_image(params: Params, note: Notify) -> Result:
    return messages(image(), text("Please analyze the image above."))


def complete_argument(params: Params, note: Notify) -> Result:
    values = [word for word in ("paris", "park", "party", "test") if word.startswith(params["value"])]
    return {"resultType": "complete", "completion": {"values": values, "total": len(values), "hasMore": False}}


# The worker protocol

HANDLERS: dict[str, Handler] = {
    **asking.HANDLERS,
    **talking.HANDLERS,
    **tasking.HANDLERS,
    **{
        handler.__name__: handler
        for handler in (
            test_simple_text,
            test_image_content,
            test_audio_content,
            test_embedded_resource,
            test_multiple_content_types,
            test_error_handling,
            test_tool_with_logging,
            test_tool_with_progress,
            test_missing_capability,
            test_logging_tool,
            test_header_parameter,
            json_schema_2020_12_tool,
            static_text,
            static_binary,
            template_data,
            simple_prompt,
            prompt_with_arguments,
            prompt_with_embedded_resource,
            prompt_with_image,
            complete_argument,
        )
    },
}
OWN: dict[str, Result] = {
    "open": {"protocol": 1, "methods": ["ping", "reset", "cancel"], "meta": True},
    "ping": {},
    "reset": {},  # nothing is ever kept
    "close": {},
}
CANCELLED = {"error": {"code": -32800, "message": "Cancelled"}}


def write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


async def answer(number: int, method: str, params: Params) -> dict[str, Any]:
    if method in OWN:
        return {"result": OWN[method]}
    if method not in HANDLERS:
        return {"error": {"code": -32601, "message": f"This worker has no method {method!r}"}}

    def notify(name: str, facts: Params) -> None:
        write({"method": name, "params": {"id": number, **facts}})

    try:
        result = HANDLERS[method](params, notify)
        return {"result": result if isinstance(result, dict) else await result}
    except Refusal as refusal:
        return {"error": refusal.error}


def say(number: int, task: "asyncio.Task[dict[str, Any]]") -> None:
    """Here and not in the task: one that is cancelled before its first step never runs."""
    write({"id": number, **(CANCELLED if task.cancelled() else task.result())})


async def main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    under_way: dict[int, asyncio.Task[dict[str, Any]]] = {}
    while line := await reader.readline():
        request = json.loads(line)
        if "id" in request:
            under_way = {number: task for number, task in under_way.items() if not task.done()}
            task = asyncio.create_task(answer(request["id"], request["method"], request.get("params", {})))
            task.add_done_callback(partial(say, request["id"]))
            under_way[request["id"]] = task
        elif request["method"] == "cancel" and (known := under_way.get(request["params"]["id"])) is not None:
            known.cancel()


if __name__ == "__main__":
    asyncio.run(main())
