"""What answers are invalidated by: a configured name, in which the call's own arguments may have their places.

`customer:{customer}` is `customer:4711` for a call with that customer. A tag is one word, however its arguments look,
so that several can stand in one line; whoever names one elsewhere, in a trigger say, writes it in the same way.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

PLACE = re.compile(r"\{([A-Za-z0-9_.-]+)\}")
"""Where an argument stands in a tag."""
VALUE_CHARACTERS_MAX = 200
"""A longer value is named by its SHA-256: tags are held in memory, and told to other processes."""

_UNFIT = re.compile(r"[\s%\x00-\x1f\x7f]")


def rendered(templates: Sequence[str], arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The tags of one call. An argument that it does not have is named by nothing."""
    return tuple(
        PLACE.sub(lambda place: value_name(arguments.get(place[1], "")), template) if "{" in template else template
        for template in templates
    )


def value_name(value: Any) -> str:
    """A value as it stands in a tag: texts as they are, anything else as JSON, blanks and `%` as in URLs."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # the same number to a schema and to a database
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    if len(text) > VALUE_CHARACTERS_MAX:
        return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return _UNFIT.sub(_escaped, text)


def _escaped(unfit: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in unfit[0].encode())
