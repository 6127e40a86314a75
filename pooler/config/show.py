"""A configuration for people to look at: everything resolved, defaults included, and no secret in it.

What was filled in from outside is shown as the reference that stands in the file.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretBytes, SecretStr

from pooler.config.document import Document
from pooler.config.faults import KeyPath
from pooler.config.model import Config

MASK = "***"

_SECRET_KEY = re.compile(r"pass(word|wd|phrase)?$|secret|token$|api_?key|credential|private_?key", re.IGNORECASE)
_USER_INFO = re.compile(r"(://[^\s:/@]*:)\S*@")
_PARAMETER = re.compile(r"((?:pass(?:word|wd)?|pwd|secret|token|sslpassword)\s*=\s*)[^&;\s]+", re.IGNORECASE)


def shown(config: Config, document: Document) -> dict[str, Any]:
    """The whole configuration as plain data, masked."""
    whole: dict[str, Any] = {
        "pooler": config.pooler.model_dump(),
        "frontend": dict(config.frontend),
        "backends": {
            name: {
                "kind": backend.kind,
                **backend.settings.model_dump(),
                "pool": backend.pool.model_dump(),
                **backend.keeping.model_dump(exclude_none=True),
            }
            for name, backend in config.backends.items()
        },
        "operations": {name: part.model_dump(exclude_none=True) for name, part in config.operations.items()},
        "prompts": {name: part.model_dump(exclude_none=True) for name, part in config.prompts.items()},
    }
    masked: dict[str, Any] = _masked(whole, (), document.templates)
    return masked


def masked_text(text: str) -> str:
    """A text without the passwords of the URLs and connection strings in it."""
    return _PARAMETER.sub(rf"\1{MASK}", _USER_INFO.sub(rf"\1{MASK}@", text))


def _masked(value: Any, path: KeyPath, templates: Mapping[KeyPath, str]) -> Any:
    if path in templates:
        return masked_text(templates[path])
    match value:
        case Mapping():
            return {key: _masked(inner, (*path, str(key)), templates) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked(inner, (*path, index), templates) for index, inner in enumerate(value)]
        case SecretStr() | SecretBytes():
            return _masked_secret(value)
        case str() if _SECRET_KEY.search(str(path[-1])):
            return MASK
        case str() | Path():
            return masked_text(str(value))
    return value


def _masked_secret(secret: SecretStr | SecretBytes) -> str:
    """A URL keeps what is useful to see, its host and database; any other secret keeps nothing."""
    text = secret.get_secret_value()
    return masked_text(text) if isinstance(text, str) and "://" in text else MASK
