"""Ready-to-paste configuration for desktop MCP clients: by address, and as a command that speaks on stdio."""

import json
import sys
from pathlib import Path
from typing import Any


def snippets(mcp_url: str, pooler: str | None, config: Path | None) -> list[tuple[str, str]]:
    """What to paste where: pairs of a client's file and JSON for it.

    `pooler`: its address, when a frontend would not find it by itself.
    """
    return [
        ("Cursor, ~/.cursor/mcp.json (and others that take an address)", _json("mcpServers", {"url": mcp_url})),
        ("VS Code, .vscode/mcp.json", _json("servers", {"type": "http", "url": mcp_url})),
        (
            "Claude Desktop, claude_desktop_config.json (a command on stdio)",
            _json("mcpServers", _command(pooler, config)),
        ),
    ]


def _command(pooler: str | None, config: Path | None) -> dict[str, Any]:
    """A frontend of the client's own on stdio; it reaches the pooler that runs already."""
    options = [] if config is None else ["--config", str(config.resolve())]
    entry: dict[str, Any] = {"command": _penstock(), "args": ["frontend", *options, "--stdio"]}
    if pooler is not None:
        entry["env"] = {"PENSTOCK_FRONTEND_POOLER": pooler}
    return entry


def _penstock() -> str:
    """The command's full path: desktop clients do not have this shell's PATH."""
    beside = Path(sys.executable).parent / "penstock"
    return str(beside) if beside.exists() else "penstock"


def _json(key: str, entry: dict[str, Any]) -> str:
    return json.dumps({key: {"penstock": entry}}, indent=2)
