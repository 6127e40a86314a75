"""What the pooler behind both frontends offers: an operation of each kind that a call may be, and arguments of each."""

import sys
from pathlib import Path
from typing import Any

OPERATIONS: dict[str, dict[str, Any]] = {
    # Answered by a system in this process, which is quick
    "echo": {"backend": "sim", "method": "echo", "arguments": {"value": {}}, "effect": "read", "share": True},
    "alone": {"backend": "sim", "method": "echo", "arguments": {"value": {}}, "effect": "read"},
    "rows": {
        "backend": "sim",
        "method": "rows",
        "arguments": {"count": {"type": "integer", "minimum": 0, "maximum": 1000}},
        "effect": "read",
        "page_rows": 20,
        "paged": True,
    },
    "wrong": {"backend": "sim", "method": "wrong", "effect": "read", "share": True},
    "write": {
        "backend": "sim",
        "method": "write",
        "arguments": {"count": {"type": "integer", "default": 1}},
        "effect": "write",
        "idempotent": True,
    },
    "shaped": {
        "backend": "sim",
        "method": "echo",
        "arguments": {
            "value": {
                "type": "object",
                "properties": {
                    "kind": {"enum": ["a", "b"]},
                    "size": {"type": "integer", "minimum": 0, "maximum": 10},
                    "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "uniqueItems": True},
                },
                "required": ["kind"],
                "additionalProperties": False,
            }
        },
        "effect": "read",
    },
    "either": {
        "backend": "sim",
        "method": "echo",
        "arguments": {"value": {"type": "string"}, "phone": {"type": "string"}, "mail": {"type": "string"}},
        "constraints": {"anyOf": [{"required": ["phone"]}, {"required": ["mail"]}], "required": ["value"]},
        "effect": "read",
    },
    "routed": {
        "backend": "sim",
        "method": "echo",
        "arguments": {
            "value": {"type": "string", "x-mcp-header": "Region"},
            "size": {"type": "integer", "x-mcp-header": "Size", "default": 0},
            "sure": {"type": "boolean", "x-mcp-header": "Sure", "default": False},
        },
        "effect": "read",
    },
    "confirmed": {
        "backend": "sim",
        "method": "write",
        "arguments": {"count": {"type": "integer"}},
        "effect": "write",
        "confirm": "Delete {count}?",
    },
    "long": {"backend": "sim", "method": "echo", "arguments": {"value": {}}, "effect": "read", "long": True},
    "hidden": {"backend": "sim", "method": "echo", "arguments": {"value": {}}, "effect": "read", "tool": False},
    "resource": {
        "backend": "sim",
        "method": "echo",
        "arguments": {"value": {"type": "string"}},
        "effect": "read",
        "resource": "echo://{value}",
    },
    "bounded": {
        "backend": "sim",
        "method": "echo",
        "arguments": {"value": {"type": "string"}},
        "effect": "read",
        "share": True,
        "page_bytes": 1024,
    },
    # Answered by a worker, which says what reached it
    "explain": {"backend": "worker", "method": "explain", "arguments": {"value": {}}, "effect": "read"},
    "promised": {
        "backend": "worker",
        "method": "explain",
        "arguments": {"value": {}},
        "effect": "read",
        "returns": {"type": "object", "properties": {"value": {"type": "string"}}},
    },
    "blocks": {"backend": "worker", "method": "blocks", "arguments": {"value": {}}, "effect": "read"},
    **{
        name: {"backend": "worker", "method": name, "effect": "read", "returns": "content"}
        for name in ("bare_blocks", "failing", "no_blocks", "protocol_error")
    },
    "refusing": {"backend": "worker", "method": "refusing", "effect": "read"},
    "asking": {"backend": "worker", "method": "asking", "effect": "read", "returns": "content", "asks": True},
}
OPERATIONS["blocks"]["returns"] = "content"

CONFIGURATION: dict[str, Any] = {
    "backends": {
        "sim": {"kind": "simulated", "streams": 4, "pool": {"cap": 2, "warm": 1}, "sessions": True},
        "worker": {
            "kind": "process",
            "command": [sys.executable, str(Path(__file__).with_name("worker.py"))],
            "pool": {"cap": 1, "warm": 1},
        },
    },
    "operations": OPERATIONS,
    "prompts": {"greet": {"text": "Dear {name}!", "arguments": {"name": {"description": "Who"}}}},
}
