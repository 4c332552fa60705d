"""Drawings show what they are given, inside their frame."""

import itertools
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ontogeny.report.drawing import HEIGHT, LETTER, WIDTH, interval, mark
from ontogeny.report.lineage import Node, arrange, draw, trunk_of
from ontogeny.report.plot import BOTTOM, LEFT, RIGHT, TOP, Points, plot, running_mean, ticks

numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: float(f"{x:.5g}"))


@st.composite
def effects(draw: st.DrawFn) -> dict[str, Any]:
    low, value, high = sorted(draw(numbers) for _ in range(3))
    sense, measured = draw(st.sampled_from(["at_least", "at_most", "within"])), draw(st.booleans())
    return {
        "name": "x.y",
        "estimate": value if measured else None,
        "low": low if measured else None,
        "high": high if measured else None,
        "null": draw(st.none() | numbers),
        "target": draw(numbers),
        "sense": sense,
        "seeds": [{"seed": n, "estimate": draw(numbers)} for n in range(3)] if measured else [],
    }


def places(svg: str, key: str) -> list[float]:
    """Every value of an attribute."""
    return [float(value) for value in re.findall(rf' {key}="([^"]*)"', svg)]


@settings(deadline=None)  # the machine may be busy
@given(effects())
def test_everything_of_an_effect_lies_inside_its_drawing(row: dict[str, Any]) -> None:
    svg = interval(row)
    for key in ("x", "x1", "x2", "cx"):
        assert all(0 <= place <= WIDTH for place in places(svg, key)), (key, svg)
    assert all(0 <= place <= HEIGHT for place in places(svg, "y"))
    for x, label in re.findall(r'<text x="([^"]*)"[^>]*>([^<]*)<', svg):
        half = len(label) * LETTER / 2
        assert float(x) - half >= -0.01 and float(x) + half <= WIDTH + 0.01, label
    assert all(width >= 0 for width in places(svg, "width"))
    assert svg.count("<circle") == len(row["seeds"])  # the estimate, and a ring for each other
    assert ('class="bar"' in svg) == (row["estimate"] is not None)


def test_an_effects_places_are_in_the_order_of_its_numbers() -> None:
    row = {"name": "x", "sense": "at_least", "null": 0.0, "target": 0.5, "estimate": 0.3}
    svg = interval(row | {"low": 0.2, "high": 0.4, "seeds": [{"estimate": 0.3}]})
    null, target = (
        float(re.search(rf'<line x1="([^"]*)"[^>]*class="{name}"', svg)[1])  # type: ignore[index]
        for name in ("null", "target")
    )
    low, high = re.search(r'<line x1="([^"]*)"[^>]*x2="([^"]*)"[^>]*class="bar"', svg).groups()  # type: ignore[union-attr]
    (dot,) = places(svg, "cx")
    assert null < float(low) < dot < float(high) < target
    assert "x: 0.30, 95 % interval from 0.20 to 0.40" in svg


def test_every_verdict_has_a_sign_of_its_own() -> None:
    signs = [mark(verdict) for verdict in ("holds", "short", "null", "worse", "untested")]
    shapes = {re.sub(r'<svg[^>]*>| class="mark [a-z]+"', "", sign) for sign in signs}
    assert len(shapes) == 5


@settings(deadline=None)  # the machine may be busy
@given(numbers, numbers, st.integers(2, 8))
def test_ticks_are_round_few_and_reach_around_the_range(a: float, b: float, wanted: int) -> None:
    low, high = min(a, b), max(a, b)
    found = ticks(low, high, wanted)
    slack = 1e-6 * max(abs(low), abs(high), 1e-300)
    assert found[0] <= low + slack and found[-1] >= high - slack
    assert 2 <= len(found) <= wanted + 3
    steps = [second - first for first, second in itertools.pairwise(found)]
    assert all(step > 0 for step in steps)
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(numbers, min_size=1, max_size=400), st.lists(numbers, max_size=30))
def test_a_plot_stays_inside_its_axes(values: list[float], other: list[float]) -> None:
    main = Points([float(n + 1) for n in range(len(values))], values)
    others = [Points([float(n + 1) for n in range(len(other))], other)] if other else []
    total = max(len(values), len(other))
    svg = plot("a title", "steps", total, main, others)
    for path in re.findall(r' d="M([^"]*)"', svg):
        points = [tuple(map(float, point.split())) for point in path.split("L")]
        assert len(points) <= 242
        assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in points)
    assert len(re.findall(r">[−\d.,e+KMGT ]+</text>", svg)) >= 3  # numbers on the axes
    assert ">steps</text>" in svg


def test_a_plot_ends_where_the_line_ends() -> None:
    main = Points([float(n) for n in range(1, 1001)], [1000.0 - n for n in range(1, 1001)])
    path = re.search(r'd="M([^"]*)" class="curve"', plot("t", "steps", 1000, main, []))
    assert path is not None
    first, *_, last = path[1].split("L")
    assert float(last.split()[0]) == RIGHT
    assert float(first.split()[1]) < float(last.split()[1])  # it falls, and y points down


def test_only_a_noisy_line_is_smoothed() -> None:
    calm = Points([1, 2, 3], [3.0, 2.0, 1.0])
    assert running_mean(calm) is calm
    noisy = Points(list(range(200)), [float(n % 2) for n in range(200)])
    smooth = running_mean(noisy)
    assert max(smooth.y) < 0.7 and min(smooth.y) > 0.3
    assert sum(smooth.y) / 200 == pytest.approx(0.5, abs=0.01)


@st.composite
def families(draw: st.DrawFn) -> list[Node]:
    nodes: list[Node] = []
    for place in range(draw(st.integers(1, 14))):
        parents = draw(st.sets(st.integers(0, place - 1), max_size=3)) if place else set()
        kind = draw(st.sampled_from(["model", "tokens"]))
        nodes.append(Node(f"n{place}", kind, tuple(sorted(parents))))
    return nodes


@settings(deadline=None)  # the machine may be busy
@given(families())
def test_no_two_lines_of_a_lineage_run_in_one_lane(nodes: list[Node]) -> None:
    layout = arrange(nodes)
    trunk = layout.trunk
    following = dict(itertools.pairwise(trunk))
    taken: set[tuple[int, int]] = set()
    for row, lane in enumerate(layout.pipe):
        children = [c for c, node in enumerate(nodes) if row in node.parents]
        piped = [c for c in children if following.get(row) != c]
        last = max(piped, default=row)
        assert (lane == 0) == (row in trunk and not piped)
        handed_on = last > row and layout.home[last] == lane  # the child goes on in it
        cells = {(lane, each) for each in range(row, last + (not handed_on))} if lane else set()
        assert not cells & taken
        taken |= cells
    assert all((lane == 0) == (row in trunk) for row, lane in enumerate(layout.home))


@settings(deadline=None)  # the machine may be busy
@given(families())
def test_every_parent_has_an_arrow_and_every_artifact_a_dot(nodes: list[Node]) -> None:
    svg = draw(nodes)
    assert svg.count('class="edge') == sum(len(node.parents) for node in nodes)
    assert svg.count("<circle") == len(nodes)
    assert svg.count('class="node trunk"') == len(trunk_of(nodes))
    width = float(re.search(r'width="([^"]*)"', svg)[1])  # type: ignore[index]
    assert all(0 < place < width for place in places(svg, "cx"))


def test_the_trunk_is_the_line_of_models_that_ends_in_the_last() -> None:
    nodes = [
        Node("tokens", "tokens", ()),
        Node("base", "model", (0,)),
        Node("arm", "model", (1, 0)),
        Node("sft", "model", (1, 0)),
        Node("pairs", "pairs", (3,)),
        Node("dpo", "model", (3, 4)),
    ]
    assert trunk_of(nodes) == (1, 3, 5)
    assert "dpo from sft, pairs" in draw(nodes)
