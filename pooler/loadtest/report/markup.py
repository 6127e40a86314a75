"""Elements of HTML and SVG as text: what is no markup is escaped, every element is closed, so it reads as XML too."""

from html import escape

VOID = frozenset({"meta", "circle", "line", "path", "rect", "polyline"})
"""Elements without content; all others get an end tag, since HTML takes `<p />` for a beginning."""


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


NOTHING = Markup()


def el(name: str, /, *children: "str | None", **attributes: "str | float | None") -> Markup:
    """An element. `class_` is class, `stroke_width` stroke-width; an attribute that is None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{given} />")
    return Markup(f"<{name}{given}>{joined(*children)}</{name}>")


def joined(*children: "str | None") -> Markup:
    """Children one after the other; texts among them escaped."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children if child))


def _text(value: "str | float") -> str:
    """Coordinates to a tenth of a pixel: more is not seen and doubles the file."""
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
