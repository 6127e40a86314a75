"""A frontend as it starts cold, and one plain call to it, in a process of its own that says what it has imported.

`python -m tests.real.cold_frontend POOLER`: prints one JSON object. It imports nothing that a frontend does not.
"""

import asyncio
import json
import sys

import uvloop

from frontend.config import Settings
from frontend.server import Server

VERSION = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "first", "_meta": META}}


async def main(pooler: str) -> None:
    server = Server(Settings.model_validate({"listen": "127.0.0.1:0", "pooler": pooler}))
    serving = asyncio.create_task(server.serve())
    await server.listening.wait()
    answer = await _ask(server.address)
    print(json.dumps({"answer": answer, "modules": sorted(sys.modules)}))
    server.should_exit = True
    await serving


async def _ask(address: str) -> object:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(CALL).encode()
    headers = {
        "host": address,
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": "tools/call",
        "mcp-name": "first",
        "content-length": str(len(body)),
        "connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2])


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
