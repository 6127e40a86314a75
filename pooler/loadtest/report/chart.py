"""What a chart says, as plain values: a title, two axes with their units, series with their names. Draws nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Point = tuple[float, float | None]
"""x and y; None is a gap."""


@dataclass(frozen=True, slots=True)
class Axis:
    """`unit`: as it is written behind the label."""

    label: str
    unit: str
    scale: Literal["linear", "log", "exact", "percentile"] = "linear"
    least: float = 0.0
    """Of a logarithmic axis: what is taken for 0."""
    reaches: float = 0.0
    """Of a linear axis: how far at least, though no value does."""

    @property
    def caption(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})"


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one layer of a stack. `role` is its colour's name, the same in all charts of a report."""

    name: str
    role: str
    points: Sequence[Point]
    dashed: bool = False
    dots: bool = False
    """Whether its points are marked: few of them, each a measurement of its own."""
    stairs: bool = False
    """Whether a value holds until the next one."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines, and below them layers that add up."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    layers: Sequence[Series] = field(default_factory=tuple)
    """Areas, from below; all with the same x."""
    note: str = ""
    """What has to be known to read it right."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of parts that add up, one bar a category. `parts` have a value for each category."""

    title: str
    x: Axis
    y: Axis
    categories: Sequence[str]
    parts: Sequence[tuple[str, str, Sequence[float]]]
    """Name, role, values."""
    note: str = ""


Chart = Lines | Bars


def legend_of(chart: Chart) -> list[tuple[str, str, bool, bool]]:
    """Name, role, whether it is an area, whether it is dashed; from above, as the eye meets them."""
    if isinstance(chart, Bars):
        return [(name, role, True, False) for name, role, _ in reversed(chart.parts)]
    lines = [(series.name, series.role, False, series.dashed) for series in chart.series]
    return lines + [(series.name, series.role, True, False) for series in reversed(chart.layers)]
