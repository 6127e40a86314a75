"""Reads a YAML file into plain data, and remembers where every key and value stood.

YAML's core schema (1.2) decides what a plain scalar is, as it does for editors: `no` is a text and a date is a text.
Duplicate keys, tags and keys that are no texts are faults. It knows nothing of what a configuration means.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import yaml

from pooler.config.faults import ConfigError, ConfigFault, KeyPath, Place
from pooler.config.references import ReferenceFault, References

_TAG = "tag:yaml.org,2002:"
_PLAIN: dict[str, tuple[re.Pattern[str], str, Callable[[str], Any]]] = {
    f"{_TAG}null": (re.compile(r"(?:~|null|Null|NULL|)$"), "~nN", lambda text: None),
    f"{_TAG}bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), "tTfF", lambda text: text.lower() == "true"),
    f"{_TAG}int": (
        re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"),
        "-+0123456789",
        lambda text: int(text, 0) if text[:2] in ("0o", "0x") else int(text),
    ),
    f"{_TAG}float": (
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        "-+.0123456789",
        lambda text: float(text.replace(".", "") if text[-1] in "fFnN" else text),
    ),
}
"""The core schema: by tag, the texts that have it, how they may begin, and what they mean."""


class _CoreLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C parser where it was built
    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


for _name, (_pattern, _first, _) in _PLAIN.items():
    _CoreLoader.add_implicit_resolver(_name, _pattern, [*_first, ""] if _name.endswith("null") else list(_first))


class Document:
    """A configuration file as plain data, with the place of everything in it and the faults found so far."""

    def __init__(self, file: Path, sections: frozenset[str] | None = None, begins: str = "backends:") -> None:
        """`sections`: the top-level keys whose references are filled in; None for all. `begins`: how one may begin.

        Raises ConfigError when the file cannot be read or is no YAML mapping.
        """
        self.file = file
        self.faults: list[ConfigFault] = []
        self.templates: dict[KeyPath, str] = {}
        """By path: a text as it stands in the file, where references were filled into it."""
        self._secrets: dict[KeyPath, list[str]] = {}
        self._settled: set[KeyPath] = set()
        self._keys: dict[KeyPath, Place] = {}
        self._values: dict[KeyPath, Place] = {}
        self._sections = sections
        self._begins = begins
        self._references = References(file.parent)
        self.data: dict[str, Any] = self._mapping_of(self._compose(), (), ())

    def fault(self, path: KeyPath, message: str, *, at_key: bool = False) -> None:
        """Notes a fault at the nearest place that the file has for a path; what was filled in there is masked.

        Says nothing more of a path that is settled.
        """
        if path in self._settled:
            return
        for where, values in self._secrets.items():
            if path == where[: len(path)]:
                for value in filter(None, values):
                    message = message.replace(value, "***")
        self.faults.append(ConfigFault(self.file, self.place(path, at_key=at_key), path, message))

    def settle(self, path: KeyPath) -> None:
        """Takes no further fault of a path: whatever else is wrong there would be a consequence of the first."""
        self._settled.add(path)

    def place(self, path: KeyPath, *, at_key: bool = False) -> Place:
        """Where a value (or its key) stands, or else the key of the closest thing around it."""
        if not at_key and path in self._values:
            return self._values[path]
        for length in range(len(path), 0, -1):
            if path[:length] in self._keys:
                return self._keys[path[:length]]
        return Place(1, 1)

    def _compose(self) -> yaml.MappingNode:
        try:
            loader = _CoreLoader(self.file.read_text("utf-8"))
            try:
                root = loader.get_single_node()
            finally:
                loader.dispose()
        except OSError as error:
            self.fault((), f"cannot be read: {error.strerror}; name a file that exists")
        except UnicodeDecodeError:
            self.fault((), "is no UTF-8 text; save it as UTF-8")
        except yaml.YAMLError as error:
            self._syntax_fault(error)
        else:
            if isinstance(root, yaml.MappingNode):
                return root
            self.fault((), f"holds no mapping; begin with `{self._begins}`")
        raise ConfigError(self.faults)

    def _syntax_fault(self, error: yaml.YAMLError) -> None:
        mark = getattr(error, "problem_mark", None)
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
        self.faults.append(ConfigFault(self.file, place, (), f"is no YAML here: {problem}; correct the syntax"))

    def _value(self, node: yaml.Node, path: KeyPath, around: tuple[yaml.Node, ...]) -> Any:
        self._values[path] = _place(node)
        if any(node is other for other in around):
            self.fault(path, "an alias refers to what contains it; write the value out")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping_of(node, path, around)
        if isinstance(node, yaml.SequenceNode):
            items = node.value
            return [self._value(item, (*path, index), (*around, node)) for index, item in enumerate(items)]
        return self._scalar(node, path)

    def _mapping_of(self, node: yaml.MappingNode, path: KeyPath, around: tuple[yaml.Node, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = _place(key_node)
            if key_node.tag != f"{_TAG}str":
                self._key_fault(place, path, "a key must be a text; put it in quotes")
                continue
            key: str = key_node.value
            here = (*path, key)
            if key in result:
                first = self._keys[here].line
                self._key_fault(place, here, f"the same key stands in line {first} already; keep one of them")
                continue
            self._keys[here] = place
            result[key] = self._value(value_node, here, (*around, node))
        return result

    def _key_fault(self, place: Place, path: KeyPath, message: str) -> None:
        self.faults.append(ConfigFault(self.file, place, path, message))

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        if node.tag in _PLAIN:
            with suppress(ValueError):
                return _PLAIN[node.tag][2](node.value)
        elif node.tag == f"{_TAG}str":
            return self._text(node.value, path)
        self.fault(path, f"the tag {node.tag.replace(_TAG, '!!')!r} does not fit; leave it out")
        return None

    def _text(self, text: str, path: KeyPath) -> str:
        if "${" not in text or (self._sections is not None and path[0] not in self._sections):
            return text
        try:
            filled, values = self._references.fill(text)
        except ReferenceFault as error:
            self.fault(path, str(error))
            self.settle(path)
            return text
        if values:
            self.templates[path] = text
            self._secrets[path] = values
        return filled


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)
