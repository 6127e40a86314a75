"""What this process logs, and how: structured lines on stderr, the libraries' own ones in the same form.

Standard output stays free: on stdio it carries the protocol.
"""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

Format = Literal["console", "json"]


def configure(level: str, form: Format) -> None:
    """Sets up logging for the whole process; called once, before anything is logged."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendered(form)))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    if level != "debug":
        # What it says at INFO is about its own insides.
        logging.getLogger("mcp").setLevel(logging.WARNING)


def _rendered(form: Format) -> list[Processor]:
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if form == "json":
        return [remove, structlog.processors.JSONRenderer()]
    return [remove, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)]
