"""What the DBA's commands have in common on the command line."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", envvar="PENSTOCK_CONFIG", help="A configuration that says where it is."
    ),
]
Address = Annotated[
    str | None,
    typer.Option("--pooler", metavar="ADDRESS", envvar="PENSTOCK_POOLER", help="Where it is: HOST:PORT or unix:PATH."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        envvar="PENSTOCK_ADMIN_TOKEN_FILE",
        help="A file with your token; else it is taken from PENSTOCK_ADMIN_TOKEN.",
    ),
]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", min=0.001, help="How long to wait for an answer.")]
Json = Annotated[bool, typer.Option("--json", help="JSON, for scripts.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it again whenever it has changed, until Ctrl-C.")]
Interval = Annotated[float, typer.Option(metavar="SECONDS", min=0.1, max=60, help="How often a watch looks.")]
Limit = Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="How many of each backend, at most.")]
Backends = Annotated[list[str] | None, typer.Argument(metavar="[BACKEND]...", help="Of these alone.")]

USUAL_TIMEOUT = 5.0
USUAL_INTERVAL = 1.0
USUAL_LIMIT = 100
