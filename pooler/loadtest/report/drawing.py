"""Draws a chart as SVG, at a width of choice: the same chart is drawn wide and narrow, so that a phone can read it.

Text is never scaled below what can be read, colours are the page's variables, and every mark says its value by a title.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from pooler.loadtest.report.chart import Axis, Bars, Chart, Lines, Point, Series
from pooler.loadtest.report.markup import NOTHING, Markup, el, joined
from pooler.loadtest.report.scales import Scale, linear, logarithmic

LEFT, RIGHT, TOP, BOTTOM = 56.0, 12.0, 22.0, 46.0
WIDE, NARROW = (580.0, 300.0), (344.0, 280.0)
LETTER = 6.4
"""About the width of a letter of 12 px."""


@dataclass(frozen=True, slots=True)
class _Field:
    """The area between the axes, in pixels."""

    width: float
    height: float
    x: Scale
    y: Scale

    def left(self, value: float) -> float:
        return LEFT + self.x.at(value) * (self.width - LEFT - RIGHT)

    def top(self, value: float) -> float:
        return self.height - BOTTOM - self.y.at(value) * (self.height - TOP - BOTTOM)


def drawn(chart: Chart, size: tuple[float, float], name: str) -> Markup:
    """The SVG. `name`: unique in the page, for its title."""
    width, height = size
    body = _bars(chart, size) if isinstance(chart, Bars) else _lines(chart, size)
    return el(
        "svg",
        el("title", chart.title, id=f"{name}-title"),
        body,
        class_="narrow" if size == NARROW else "wide",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title",
        xmlns="http://www.w3.org/2000/svg",
    )


# Lines and layers


def _lines(chart: Lines, size: tuple[float, float]) -> Markup:
    layers = _stacked(chart.layers)
    tops = [value for layer in layers for _, _, value in layer]
    values = [y for series in chart.series for _, y in series.points if y is not None]
    xs = [x for series in (*chart.series, *chart.layers) for x, _ in series.points]
    field = _Field(*size, _scale(chart.x, xs, size[0]), _scale(chart.y, [*values, *tops], 400.0))
    marks = [_area(field, series, layer) for series, layer in zip(chart.layers, layers, strict=True)]
    marks += [_line(field, chart, series) for series in chart.series]
    return joined(_axes(field, chart.x, chart.y, _ticks(field, chart.x)), *marks)


def _scale(axis: Axis, values: Sequence[float], room: float) -> Scale:
    if axis.scale in ("log", "percentile"):
        return logarithmic(values, axis.least)
    return linear([*values, axis.reaches], 6 if room > NARROW[0] else 4, exact=axis.scale == "exact")


def _stacked(layers: Sequence[Series]) -> list[list[tuple[float, float, float]]]:
    """Each layer as (x, from, to)."""
    sums: dict[float, float] = {}
    stacked = []
    for series in layers:
        layer = []
        for x, y in series.points:
            below = sums.get(x, 0.0)
            sums[x] = below + (y or 0.0)
            layer.append((x, below, sums[x]))
        stacked.append(layer)
    return stacked


def _area(field: _Field, series: Series, layer: Sequence[tuple[float, float, float]]) -> Markup:
    if not any(top > below for _, below, top in layer):
        return NOTHING
    upper = _stairs([(field.left(x), field.top(top)) for x, _, top in layer], series.stairs)
    lower = _stairs([(field.left(x), field.top(below)) for x, below, _ in layer], series.stairs)
    return el("path", class_=f"area {series.role}", d=f"M{_path(upper)}L{_path(reversed(lower))}Z")


def _line(field: _Field, chart: Lines, series: Series) -> Markup:
    runs = [list(run) for gap, run in groupby(series.points, key=lambda point: point[1] is None) if not gap]
    places = [[(field.left(x), field.top(y or 0.0)) for x, y in run] for run in runs]
    look = f"line {series.role}{' dashed' if series.dashed else ''}"
    drawn_runs = [el("path", class_=look, d=f"M{_path(_stairs(run, series.stairs))}") for run in places if len(run) > 1]
    dots = [_dot(field, chart, series, x, y) for x, y in series.points if y is not None]
    return el("g", *drawn_runs, *dots)


def _dot(field: _Field, chart: Lines, series: Series, x: float, y: float) -> Markup:
    """A point; one of a dense line shows only under the pointer."""
    words = f"{series.name}: {_number(y)} {chart.y.unit}".rstrip() + f" at {_x_words(chart.x, x)}"
    seen = "dot" if series.dots else "spot"
    place = {"cx": field.left(x), "cy": field.top(y), "r": 3.5 if series.dots else 5.0}
    circle = el("circle", class_=f"{seen} {series.role}", **place)
    return el("g", circle, el("title", words))


def _x_words(axis: Axis, x: float) -> str:
    if axis.scale == "percentile":
        return f"{_percentile(x)} % of the calls"
    return f"{_number(x)} {axis.unit}".strip()


def _stairs(places: Sequence[tuple[float, float]], wanted: bool) -> list[tuple[float, float]]:
    if not wanted or not places:
        return list(places)
    stairs = [places[0]]
    for (_, before), (left, top) in pairwise(places):
        stairs += [(left, before), (left, top)]
    return stairs


def _path(places: Iterable[tuple[float, float]]) -> str:
    return "L".join(f"{left:.1f} {top:.1f}" for left, top in places)


# Bars


def _bars(chart: Bars, size: tuple[float, float]) -> Markup:
    totals = [sum(values) for values in zip(*(values for _, _, values in chart.parts), strict=True)]
    count = len(chart.categories)
    field = _Field(*size, Scale(0.0, float(count), ()), _scale(chart.y, totals, 400.0))
    marks, below = [], [0.0] * count
    for name, role, values in chart.parts:
        for index, value in enumerate(values):
            if value > 0:
                words = f"{name}: {_number(value)} {chart.y.unit} at {chart.categories[index]}"
                marks.append(_bar(field, index, below[index], value, role, words))
            below[index] += value
    room = (size[0] - LEFT - RIGHT) / max(count, 1)
    every = max(1, round(max(map(len, chart.categories), default=1) * LETTER / room + 0.5))
    named = [(index + 0.5, label) for index, label in enumerate(chart.categories) if index % every == 0]
    return joined(_axes(field, chart.x, chart.y, named), *marks)


def _bar(field: _Field, index: int, below: float, value: float, role: str, words: str) -> Markup:
    left, right = field.left(index + 0.15), field.left(index + 0.85)
    top, bottom = field.top(below + value), field.top(below)
    place = {"x": left, "y": top, "width": right - left, "height": max(bottom - top, 0.5)}
    return el("g", el("rect", class_=f"bar {role}", **place), el("title", words))


# Axes


def _axes(field: _Field, x: Axis, y: Axis, x_ticks: Sequence[tuple[float, str]]) -> Markup:
    left, right, bottom = LEFT, field.width - RIGHT, field.height - BOTTOM
    rows = [
        joined(
            el("line", class_="grid", x1=left, x2=right, y1=field.top(tick), y2=field.top(tick)),
            el("text", _number(tick), class_="tick", x=left - 6, y=field.top(tick) + 4, text_anchor="end"),
        )
        for tick in field.y.ticks
    ]
    columns = [_named(field.left(at), words, right, bottom + 16) for at, words in x_ticks]
    captions = joined(
        el("text", y.caption, class_="axis y", x=4, y=12),
        el("text", x.caption, class_="axis x", x=right, y=field.height - 8, text_anchor="end"),
    )
    base = el("line", class_="base", x1=left, x2=right, y1=bottom, y2=bottom)
    return el("g", *rows, *columns, base, captions, class_="axes")


def _named(left: float, words: str, right: float, top: float) -> Markup:
    """A tick's name below it; the last one never past the edge."""
    past = left + len(words) * LETTER / 2 > right + RIGHT / 2
    place = {"x": right + RIGHT / 2 if past else left, "y": top}
    return el("text", words, class_="tick", text_anchor="end" if past else "middle", **place)


def _ticks(field: _Field, axis: Axis) -> list[tuple[float, str]]:
    """The x axis's own names, as many as have room."""
    words = [(tick, _percentile(tick) if axis.scale == "percentile" else _number(tick)) for tick in field.x.ticks]
    kept: list[tuple[float, str]] = []
    free_from = 0.0
    for tick, text in words:
        half = len(text) * LETTER / 2
        # Where it will stand: the last one is moved in from the edge.
        middle = min(field.left(tick), field.width - RIGHT / 2 - half)
        if middle - half >= free_from:
            kept.append((tick, text))
            free_from = middle + half + 6
    return kept


def _percentile(x: float) -> str:
    """1/(1 − share) as a percentile: 1 is 0, 100 is 99, 1000 is 99.9."""
    return f"{100 - 100 / x:.6g}"


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


__all__ = ["NARROW", "WIDE", "Point", "drawn"]
