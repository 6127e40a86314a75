"""How the arguments of generated calls are made: from a seed, by a small closed list of ways.

A value that is no mapping stands for itself. A mapping names one way, so that a misspelt one is a fault and no value:
    {value: ANY}                            itself, where a mapping is meant
    {range: [1, 1000]}                      evenly; whole numbers unless a bound has a fraction
    {choice: [a, b], weights: [3, 1]}       one of them
    {zipf: 1000, exponent: 1.1}             1, 2, … 1000, small ones far more often: hot keys
    {sequence: 1}                           1, 2, 3, …
    {template: "C{n:04}", n: {range: …}}    a text with places, each made in its turn
Nothing here knows what an operation takes; the catalogue's schema is asked before the first call is sent.
"""

import string
from bisect import bisect_left
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from itertools import accumulate, count
from random import Random
from typing import Any

ZIPF_MAX = 1_000_000
WAYS = {
    "value": frozenset[str](),
    "range": frozenset[str](),
    "choice": frozenset({"weights"}),
    "zipf": frozenset({"exponent"}),
    "sequence": frozenset[str](),
    "template": frozenset[str](),
}
"""By its name: what else may stand beside it. A template takes its own places."""

Make = Callable[[Random], Any]


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raises ValueError that names the argument which cannot be made, and why."""
    maker(arguments)


def maker(arguments: Mapping[str, Any]) -> Callable[[Random], dict[str, Any]]:
    """What makes a call's arguments, time after time. Raises ValueError."""
    makes = {name: _named(name, given) for name, given in arguments.items()}
    return lambda chance: {name: make(chance) for name, make in makes.items()}


def _named(name: str, given: Any) -> Make:
    try:
        return _make(given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"argument {name!r}: {error}") from None


def _make(given: Any) -> Make:
    if not isinstance(given, Mapping):
        return lambda chance: given
    ways = [key for key in given if key in WAYS]
    if len(ways) != 1:
        raise ValueError(f"{_unknown(given)}; write {{value: …}} for a mapping that is meant as it stands")
    way = ways[0]
    others = {key: given[key] for key in given if key != way}
    if way == "template":
        return _template(given[way], others)
    if unknown := others.keys() - WAYS[way]:
        raise ValueError(f"{way} takes no {min(unknown)!r}")
    made: Make = _MAKERS[way](given[way], **others)
    return made


def _unknown(given: Mapping[str, Any]) -> str:
    keys = sorted(map(str, given))
    near = [found for key in keys for found in get_close_matches(key, WAYS, n=1)]
    hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(WAYS)}"
    return f"a mapping names one way to make a value, not {', '.join(keys) or 'none'}: {hint}"


def _value(value: Any) -> Make:
    return lambda chance: value


def _range(bounds: Any) -> Make:
    match bounds:
        case [int(least), int(most)] if least <= most:
            return lambda chance: chance.randint(least, most)
        case [int() | float() as low, int() | float() as high] if low <= high:
            return lambda chance: chance.uniform(low, high)
    raise ValueError("range takes [least, most]")


def _choice(values: Any, weights: Any = None) -> Make:
    if not isinstance(values, list) or not values:
        raise ValueError("choice takes a list of values")
    if weights is None:
        return lambda chance: chance.choice(values)
    if not isinstance(weights, list) or len(weights) != len(values) or min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(f"weights takes {len(values)} numbers of at least 0, one for each value")
    sums = list(accumulate(weights))
    return lambda chance: chance.choices(values, cum_weights=sums)[0]


def _zipf(most: Any, exponent: Any = 1.0) -> Make:
    if not isinstance(most, int) or not 1 <= most <= ZIPF_MAX:
        raise ValueError(f"zipf takes how many there are, 1 to {ZIPF_MAX:,}")
    if not isinstance(exponent, int | float) or exponent <= 0:
        raise ValueError("exponent takes a number above 0")
    sums = list(accumulate(rank**-exponent for rank in range(1, most + 1)))
    return lambda chance: bisect_left(sums, chance.random() * sums[-1]) + 1


def _sequence(first: Any) -> Make:
    if not isinstance(first, int):
        raise ValueError("sequence takes the first number")  # noqa: TRY004 - one kind of error for a plan
    numbers = count(first)
    return lambda chance: next(numbers)


def _template(text: Any, places: Mapping[str, Any]) -> Make:
    if not isinstance(text, str):
        raise ValueError("template takes a text with {places}")  # noqa: TRY004 - as above
    named = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    if missing := named - places.keys():
        raise ValueError(f"template has a place {min(missing)!r} that nothing is said of")
    if idle := places.keys() - named:
        raise ValueError(f"template has no place {min(idle)!r}")

    def filling() -> Make:
        makes = {name: _make(given) for name, given in places.items()}
        return lambda chance: text.format(**{name: make(chance) for name, make in makes.items()})

    filling()(Random(0))  # noqa: S311 - once on trial, so that a place that does not fit its value is found early
    return filling()


_MAKERS: Mapping[str, Callable[..., Make]] = {
    "value": _value,
    "range": _range,
    "choice": _choice,
    "zipf": _zipf,
    "sequence": _sequence,
}
