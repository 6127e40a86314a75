"""The report of a load test: one well-formed page, complete in itself, whose charts say what they show."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pooler.loadtest import words
from pooler.loadtest.calls import Arrival
from pooler.loadtest.compare import compared
from pooler.loadtest.plan import Plan, Step
from pooler.loadtest.report import reading
from pooler.loadtest.report.charts import COLOURS
from pooler.loadtest.report.page import written
from pooler.loadtest.report.scales import linear, logarithmic
from pooler.loadtest.result import PoolSample, Result, ResultError, SeenSample, read, write
from pooler.loadtest.tally import Tally
from pooler.loadtest.verdicts import judge
from pooler.service.load import LoadAnswer

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</style><script>alert("1")</script>&'
CAPACITY = 100.0


def result_of(*rates: float, tenants: tuple[str, ...] = ("shop", "reports"), work: float = 0.03, **changes) -> Result:
    """A run against a system that answers so many calls a second in the time that it takes, and refuses the others."""
    steps = [Step(rate=rate, seconds=5) for rate in rates]
    plan = Plan.model_validate({"steps": steps, "expect": ["goodput>0.9", "connections<=cap"]})
    tally = Tally(plan.seconds)
    pools, seen = [], []
    for index, step in enumerate(steps):
        tally.step(step, index * 5.0)
        for number in range(round(step.calls)):
            at = index * 5.0 + number / max(step.rate, 1)
            call = Arrival(at, index, "work", b"{}", tenants[number % len(tenants)], False, 1.0)
            tally.sent(call, 0.0005)
            if number % max(1, round(step.rate / CAPACITY)) == 0:
                wait = 0.001 * (number % 7) * step.rate / CAPACITY
                tally.answered(call, LoadAnswer("GOOD", wait, 0.0, 0.0, work, timed=True), at + wait + work + 0.001)
            else:
                tally.answered(call, LoadAnswer("QUEUE_FULL"), at + 0.001)
        for second in range(5):
            at = index * 5.0 + second
            fields = {"at_s": at, "backend": "legacy", "cap": 4, "starting": 1, "idle": 0, "in_use": 3, "ending": 0}
            pools.append(PoolSample(**fields, queued=7 * index))
            seen.append(SeenSample(at_s=at, backend="legacy", connections=4))
    facts = {
        "penstock": "1.2.3", "started_at": "2026-01-02T03:04:05+00:00", "target": "127.0.0.1:7433", "wire": "gRPC",
        "plan": plan.shown(), "seconds": plan.seconds, "steps": tally.steps(), "moments": tally.moments(),
        "pools": pools, "seen": seen, "generator_cpu": 0.25, "invalid": [], "notes": [],
        "verdicts": judge(plan.expect, tally.steps(), pools, seen),
    }  # fmt: skip
    return Result(**{**facts, **changes})


def parsed(page: str) -> ElementTree.Element:
    doctype, _, rest = page.partition("\n")
    assert doctype == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def roles_in(part: ElementTree.Element | None) -> set[str]:
    """The colours of its marks."""
    assert part is not None
    return {word for mark in part.iter() for word in (mark.get("class") or "").split() if word in COLOURS}


@pytest.fixture(scope="module")
def page() -> str:
    return written(result_of(50, 100, 300, 1000), result_of(50, 100, work=0.06))


def test_the_page_refers_to_nothing_outside_of_itself_and_runs_nothing(page):
    root = parsed(page)

    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert not tags & {"script", "link", "img", "image", "iframe", "object", "embed", "use", "a"}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not [name for name in attributes if name in ("href", "src", "srcset", "style") or name.startswith("on")]
    addresses = set(re.findall(r"https?://[^\"' <)]+", page)) - {"http://www.w3.org/2000/svg"}
    assert addresses == set()
    assert not re.search(r"url\(|@import", page)
    policy = next(each for each in root.iter("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert policy.get("content", "").startswith("default-src 'none'")


def test_every_chart_has_a_title_both_axes_with_their_units_and_a_legend_and_is_drawn_for_phones_too(page):
    figures = list(parsed(page).iter("figure"))

    titles = [figure.findtext("figcaption") for figure in figures]
    assert titles == [
        "Calls and answers", "Goodput against offered load", "What became of the calls",
        "Latency over time", "Latency against offered load", "Latency by percentile", "Where the time went",
        "Connections of legacy", "Calls that wait for a connection", "What tenants asked for", "What tenants got",
    ]  # fmt: skip
    for figure, title in zip(figures, titles, strict=True):
        entries = figure.findall("ul[@class='legend']/li")
        assert entries, title
        assert all("".join(entry.itertext()).strip() and entry.find("svg") is not None for entry in entries)
        drawings = figure.findall(f"{SVG}svg")
        assert [drawing.get("class") for drawing in drawings] == ["wide", "narrow"], title
        for drawing in drawings:
            assert drawing.findtext(f"{SVG}title") == title
            captions = [text.text or "" for text in drawing.iter(f"{SVG}text") if "axis" in (text.get("class") or "")]
            assert len(captions) == 2, title
            assert all(re.fullmatch(r".+ \([^)]+\)", caption) for caption in captions), captions


def test_every_mark_of_a_legend_is_drawn_in_its_chart_and_has_a_colour_in_both_schemes(page):
    style = parsed(page).findtext(".//style") or ""
    for figure in parsed(page).iter("figure"):
        drawing = figure.find(f"{SVG}svg")
        named = {role for entry in figure.findall("ul/li") for role in roles_in(entry)}
        assert roles_in(drawing) <= named, figure.findtext("figcaption")
        assert all(len(re.findall(rf"--{role}: #[0-9a-f]{{6}}", style)) == 2 for role in named)


def test_nothing_is_drawn_outside_of_its_chart(page):
    for drawing in parsed(page).iter(f"{SVG}svg"):
        _, _, width, height = map(float, drawing.get("viewBox", "").split())
        for mark in drawing.iter(f"{SVG}path"):
            for left, top in re.findall(r"(-?[\d.]+) (-?[\d.]+)", mark.get("d", "")):
                assert -0.1 <= float(left) <= width + 0.1
                assert -0.1 <= float(top) <= height + 0.1


def test_names_of_the_worlds_own_are_text_and_never_markup():
    hostile = result_of(50, tenants=(HOSTILE, "other"), target=HOSTILE, invalid=[HOSTILE], notes=[HOSTILE])

    assert "<script" not in written(hostile)
    assert HOSTILE in "".join(parsed(written(hostile)).itertext())


def test_a_run_of_which_nothing_came_still_has_a_report():
    nothing = result_of(0, pools=[], seen=[], invalid=["no call was due"])

    page = written(nothing)
    assert "Invalid" in page
    assert "No call was made." in page
    assert parsed(page) is not None


def test_the_head_says_whether_it_is_valid_and_what_was_missed(page):
    assert "1 of 2 limits missed" in page
    assert "All 2 limits kept" in written(result_of(50))
    assert "Valid; no limit was stated" in written(result_of(50, verdicts=[]))


def test_the_sentences_are_those_of_a_capacity_planner():
    said = reading.sentences(result_of(50, 100, 300, 1000))

    assert said[0] == "At most 99.4/s good answers came back, in step 2, which offered 100/s."
    assert said[1].startswith("Up to 100/s, 99 % or more were answered well; p99 was ")
    assert said[2].startswith("At 300/s only 33.3 % were answered well (1,000 queue full)")
    assert said[3] == "At 1,000/s, the most that was offered, good answers came at 99.4 % of the best rate."
    assert said[4].startswith("Of legacy at most 4 connections were seen")


def test_two_runs_are_compared_where_they_had_the_same_rate():
    changes = compared(result_of(50, 100, work=0.06), result_of(100, 300, work=0.03))

    assert {change.step for change in changes} == {"1: 100/s"}
    by_figure = {change.figure: change for change in changes}
    assert by_figure["work, mean"].words == "-50%"
    assert by_figure["work, mean"].better is True
    assert by_figure["good answers"].words == "same"
    slower = compared(result_of(50, work=0.03), result_of(50, work=0.06))
    assert [change.better for change in slower if change.figure == "p50"] == [False]


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path):
    result = result_of(50, 300)
    write(result, tmp_path / "kept.json")

    assert read(tmp_path / "kept.json") == result
    assert written(read(tmp_path / "kept.json")) == written(result)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"nothing", "is no JSON"),
        (b"{}", "has the form None, not 'penstock-loadtest/1'"),
        (b'{"form": "penstock-loadtest/9"}', "has the form 'penstock-loadtest/9'"),
        (b'{"form": "penstock-loadtest/1"}', "is damaged at penstock"),
    ],
)
def test_a_file_that_is_no_result_is_refused_with_what_to_do(tmp_path: Path, content, fault):
    file = tmp_path / "kept.json"
    file.write_bytes(content)

    with pytest.raises(ResultError, match=re.escape(fault)):
        read(file)
    with pytest.raises(ResultError, match="cannot be read"):
        read(tmp_path / "absent.json")


@pytest.mark.parametrize(("greatest", "high"), [(0.7, 0.8), (3, 3), (97, 100), (2103, 2500), (1e6, 1e6)])
def test_a_linear_axis_ends_at_a_round_value_that_it_names(greatest, high):
    scale = linear([0.0, greatest])

    assert scale.high == pytest.approx(high)
    assert scale.ticks[0] == 0
    assert scale.ticks[-1] == pytest.approx(high)
    assert 3 <= len(scale.ticks) <= 8


@pytest.mark.parametrize("values", [[5.0], [20, 45], [0.4, 900], [1, 1e6], []])
def test_a_logarithmic_axis_holds_all_its_values_and_names_some(values):
    scale = logarithmic(values, 0.01)

    assert all(0 <= scale.at(value) <= 1 for value in values)
    assert 2 <= len(scale.ticks) <= 12
    assert all(0 <= scale.at(tick) <= 1.001 for tick in scale.ticks)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.milliseconds(0.4237), "0.424 ms"),
        (words.milliseconds(999.7), "1 s"),
        (words.milliseconds(None), "–"),
        (words.share(0.99996), "99.99 %"),
        (words.share(1.0), "100 %"),
        (words.rate(1234.5), "1,234/s"),
        (words.step_rate(50, 400), "50 → 400/s"),
    ],
)
def test_figures_are_said_in_three_digits_with_their_unit(said, expected):
    assert said == expected
