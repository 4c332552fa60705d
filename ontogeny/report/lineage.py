"""The lineage drawn: one row an artifact, arrows from what each was made of.

Knows no stage. Every artifact keeps a lane from its row to that of its last child, like a tree's
water pipes; the line of models that ends in the last one is the trunk and has lane 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ontogeny.report.drawing import svg, tag

ROW, LANE, SIDE = 64.0, 19.0, 13.0  # height of a row, between lanes, to the edge
TURN = 40.0  # above a child its parents' lines turn towards it
TIP = 7.0  # the arrow ends this far from the middle of the child


@dataclass(frozen=True)
class Node:
    """An artifact: its name, kind, and the places of its parents among the nodes."""

    name: str
    kind: str
    parents: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Each node's lane, and the lane in which its line runs down to its later children."""

    home: tuple[int, ...]
    pipe: tuple[int, ...]
    trunk: tuple[int, ...]


def trunk_of(nodes: Sequence[Node]) -> tuple[int, ...]:
    """The last model and the models it came from, first to last."""
    place = max((i for i, node in enumerate(nodes) if node.kind == "model"), default=None)
    found: list[int] = []
    while place is not None:
        found.append(place)
        models = [p for p in nodes[place].parents if nodes[p].kind == "model"]
        place = models[0] if models else None
    return tuple(reversed(found))


def arrange(nodes: Sequence[Node]) -> Layout:
    """Lanes such that no two lines run in one; parents stand before their children.

    Where a parent's line ends in a child beside the trunk, the child goes on in its lane.
    """
    trunk = trunk_of(nodes)
    following = dict(itertools.pairwise(trunk))
    last = [i for i, _ in enumerate(nodes)]  # the row where each node's pipe ends
    for child, node in enumerate(nodes):
        for parent in node.parents:
            assert parent < child, "a parent stands below its child"
            if following.get(parent) != child:
                last[parent] = child
    home, pipe = [0] * len(nodes), [0] * len(nodes)
    holder: dict[int, int] = {}  # lane -> whose pipe runs in it
    for row, node in enumerate(nodes):
        if row in trunk and last[row] == row:
            continue
        ending = [] if row in trunk else [p for p in node.parents if last[p] == row and pipe[p]]
        free = (n for n in itertools.count(1) if n not in holder or last[holder[n]] < row)
        lane = pipe[ending[0]] if ending else next(free)
        holder[lane] = row
        pipe[row] = lane
        home[row] = 0 if row in trunk else lane
    return Layout(tuple(home), tuple(pipe), trunk)


def draw(nodes: Sequence[Node]) -> Markup:
    """The drawing; its row i is as high as the i-th row of the text beside it."""
    layout = arrange(nodes)
    lanes = max((*layout.home, *layout.pipe), default=0) + 1
    width, height = 2 * SIDE + (lanes - 1) * LANE, ROW * len(nodes)
    parts = [_arrow(layout, p, c) for c, node in enumerate(nodes) for p in node.parents]
    parts += [_dot(layout, row) for row in range(len(nodes))]
    defs = tag("defs", _tip("tip", 7), _tip("tip-trunk", 11))
    told = "; ".join(
        f"{node.name} from {', '.join(nodes[p].name for p in node.parents)}"
        for node in nodes
        if node.parents
    )
    return svg(width, height, f"Lineage: {told}", defs, *parts, class_="lineage")


def _tip(name: str, size: float) -> Markup:
    head = tag("path", d="M0 0L8 4L0 8z", class_=name)
    box = {"viewBox": "0 0 8 8", "refX": 7, "refY": 4, "orient": "auto"}
    units = {"markerUnits": "userSpaceOnUse", "markerWidth": size, "markerHeight": size}
    return tag("marker", head, id=name, **box, **units)


def _x(lane: int) -> float:
    return SIDE + lane * LANE


def _y(row: int) -> float:
    return ROW * row + 20.0


def _arrow(layout: Layout, parent: int, child: int) -> Markup:
    trunk = layout.trunk
    x0, y0, x1, y1 = _x(layout.home[parent]), _y(parent), _x(layout.home[child]), _y(child)
    if parent in trunk and child in trunk and trunk.index(child) == trunk.index(parent) + 1:
        return tag(
            "path", d=f"M{x0} {y0}V{y1 - TIP}", class_="edge trunk", marker_end="url(#tip-trunk)"
        )
    pipe = _x(layout.pipe[parent])
    start = f"M{x0} {y0}"
    if pipe != x0:
        start += f"C{pipe} {y0} {pipe} {y0 + 6} {pipe} {y0 + 20}"
    if pipe == x1:
        rest = f"V{y1 - TIP}"
    else:
        side = TIP if pipe > x1 else -TIP
        bend = f"C{pipe} {y1 - 8} {pipe - side} {y1} {x1 + side} {y1}"
        rest = f"V{y1 - TURN + 16}{bend}"
    return tag("path", d=start + rest, class_="edge", marker_end="url(#tip)")


def _dot(layout: Layout, row: int) -> Markup:
    on_trunk = row in layout.trunk
    radius = 6.0 if on_trunk else 4.5
    class_ = "node trunk" if on_trunk else "node"
    return tag("circle", cx=_x(layout.home[row]), cy=_y(row), r=radius, class_=class_)
