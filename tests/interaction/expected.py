"""Which scenarios of the public conformance suite pass, and why the others do not yet.

Both lists are checked both ways: a scenario that newly passes has to move, one that is new in the suite to be named.
"""

SUITE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
NODE = "node@22"

_COMMON = {
    "completion-complete",
    "dns-rebinding-protection",
    "json-schema-2020-12",
    "prompts-get-embedded-resource",
    "prompts-get-simple",
    "prompts-get-with-args",
    "prompts-get-with-image",
    "prompts-list",
    "resources-list",
    "resources-read-binary",
    "resources-read-text",
    "resources-templates-read",
    "server-sse-multiple-streams",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-error",
    "tools-call-image",
    "tools-call-mixed-content",
    "tools-call-simple-text",
    "tools-call-with-progress",
    "tools-list",
}

PASSING = {
    "2026-07-28": _COMMON
    | {
        "caching",
        "http-custom-header-server-validation",
        "http-header-validation",
        "input-required-result-basic-elicitation",
        "input-required-result-basic-list-roots",
        "input-required-result-basic-sampling",
        "input-required-result-capability-check",
        "input-required-result-ignore-extra-params",
        "input-required-result-missing-input-response",
        "input-required-result-multi-round",
        "input-required-result-multiple-input-requests",
        "input-required-result-non-tool-request",
        "input-required-result-request-state",
        "input-required-result-result-type",
        "input-required-result-tampered-state",
        "input-required-result-unsupported-methods",
        "input-required-result-validate-input",
        "sep-2164-resource-not-found",
        "server-stateless",
        "tasks-capability-negotiation",
        "tasks-dispatch-and-envelope",
        "tasks-lifecycle",
        "tasks-mrtr-composition",
        "tasks-mrtr-input",
        "tasks-request-headers",
        "tasks-request-state-removal",
        "tasks-required-task-error",
        "tasks-status-notifications",
        "tasks-wire-fields",
    },
    "2025-11-25": _COMMON
    | {
        "logging-set-level",
        "elicitation-sep1034-defaults",
        "elicitation-sep1330-enums",
        "ping",
        "resources-subscribe",
        "resources-unsubscribe",
        "server-initialize",
        "server-session-lifecycle",
        "server-sse-polling",
        "tools-call-elicitation",
        "tools-call-sampling",
        "tools-call-with-logging",
    },
}

OPEN: dict[str, dict[str, str]] = {"2026-07-28": {}, "2025-11-25": {}}
"""Those that fail, each with its reason."""
