"""The steps of a pipeline job as a drawing: layers from top to bottom, arrows along the data.

A pipeline within the pipeline is a box with its own steps in it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

NODE_WIDTH, NODE_HEIGHT = 200, 52
GAP_X, GAP_Y = 36, 44
MARGIN = 12
TITLE = 26
"""Height of the name of a group, above its steps."""
_SHOWN = 26
"""Most characters of a name."""


@dataclass
class Node:
    """A step: `key` is its place in the pipeline, `job` its job's name once it has one."""

    key: str
    state: str
    job: str | None = None
    reused: bool = False
    reads: set[str] = field(default_factory=set)
    """Keys of the steps whose outputs it reads."""
    x: float = 0
    y: float = 0
    width: float = NODE_WIDTH
    height: float = NODE_HEIGHT

    @property
    def label(self) -> str:
        return _short(self.key.rpartition("/")[2])

    def move(self, x: float, y: float) -> None:
        self.x, self.y = self.x + x, self.y + y


@dataclass
class Group:
    """The steps of a pipeline within the pipeline; `key` is its place."""

    key: str
    parts: list["Node | Group"]
    width: float = 0
    height: float = 0
    x: float = 0
    y: float = 0
    job: str | None = None

    @property
    def label(self) -> str:
        return _short(self.key.rpartition("/")[2])

    def move(self, x: float, y: float) -> None:
        self.x, self.y = self.x + x, self.y + y
        for part in self.parts:
            part.move(x, y)


@dataclass(frozen=True)
class Drawing:
    nodes: list[Node]
    groups: list[Group]
    """Outer ones first."""
    arrows: list[str]
    """SVG paths."""
    width: float
    height: float


def draw(nodes: Iterable[Node]) -> Drawing:
    """Places for the nodes, which know whom they read from, and the arrows between them."""
    known = {node.key: node for node in nodes}
    parts = _grouped(list(known.values()), "")
    width, height = _arrange(parts, known)
    for part in parts:
        part.move(MARGIN, MARGIN)
    arrows = [
        _arrow(known[source], node)
        for node in known.values()
        for source in sorted(node.reads & known.keys())
    ]
    groups = [part for part in _all(parts) if isinstance(part, Group)]
    return Drawing(list(known.values()), groups, arrows, width + 2 * MARGIN, height + 2 * MARGIN)


def _short(name: str) -> str:
    return name if len(name) <= _SHOWN else f"...{name[-_SHOWN + 2 :]}"


def _grouped(nodes: list[Node], prefix: str) -> list[Node | Group]:
    """Nodes of one pipeline, and groups of those that lie deeper."""
    parts: dict[str, Node | Group] = {}
    deeper: dict[str, list[Node]] = {}
    for node in nodes:
        name, _, rest = node.key.removeprefix(prefix).partition("/")
        if rest:
            deeper.setdefault(prefix + name, []).append(node)
        else:
            parts[node.key] = node
    for key, inner in deeper.items():
        parts[f"{key}/"] = Group(key, _grouped(inner, f"{key}/"))
    return list(parts.values())


def _all(parts: Iterable[Node | Group]) -> Iterator[Node | Group]:
    for part in parts:
        yield part
        if isinstance(part, Group):
            yield from _all(part.parts)


def _arrange(parts: list[Node | Group], known: dict[str, Node]) -> tuple[float, float]:
    """Give the parts places from (0, 0) on; their width and height in all."""
    for part in parts:
        if isinstance(part, Group):
            width, height = _arrange(part.parts, known)
            part.width = width + 2 * MARGIN
            part.height = height + MARGIN + TITLE
            for inner in part.parts:
                inner.move(MARGIN, TITLE)
    rows = _rows(parts)
    widths = [sum(part.width for part in row) + (len(row) - 1) * GAP_X for row in rows]
    widest, top = max(widths, default=NODE_WIDTH), 0.0
    for row, width in zip(rows, widths, strict=True):
        # Below what they read from, as far as there is room.
        row.sort(key=lambda part: _middle(part, known))
        left = (widest - width) / 2
        for part in row:
            part.move(left, top)
            left += part.width + GAP_X
        top += max(part.height for part in row) + GAP_Y
    return widest, max(0.0, top - GAP_Y)


def _rows(parts: list[Node | Group]) -> list[list[Node | Group]]:
    owner = {
        leaf.key: number
        for number, part in enumerate(parts)
        for leaf in _all([part])
        if isinstance(leaf, Node)
    }
    reads: list[set[int]] = [
        {
            owner[source]
            for leaf in _all([part])
            if isinstance(leaf, Node)
            for source in leaf.reads
            if source in owner
        }
        - {number}
        for number, part in enumerate(parts)
    ]
    depth: dict[int, int] = {}
    rows: dict[int, list[Node | Group]] = {}
    for number, part in enumerate(parts):
        rows.setdefault(_depth(number, reads, depth, ()), []).append(part)
    return [row for _, row in sorted(rows.items())]


def _depth(
    number: int, reads: list[set[int]], depth: dict[int, int], above: tuple[int, ...]
) -> int:
    if number not in depth:
        sources = [source for source in reads[number] if source not in above]
        found = max((1 + _depth(s, reads, depth, (*above, number)) for s in sources), default=0)
        depth[number] = found
    return depth[number]


def _middle(part: Node | Group, known: dict[str, Node]) -> float:
    leaves = [leaf for leaf in _all([part]) if isinstance(leaf, Node)]
    places = [known[s].x for leaf in leaves for s in leaf.reads if s in known]
    return sum(places) / len(places) if places else 0


def _arrow(source: Node, target: Node) -> str:
    x1, y1 = source.x + NODE_WIDTH / 2, source.y + NODE_HEIGHT
    x2, y2 = target.x + NODE_WIDTH / 2, target.y - 6
    bend = max(20, (y2 - y1) / 2)
    return f"M{x1:g},{y1:g} C{x1:g},{y1 + bend:g} {x2:g},{y2 - bend:g} {x2:g},{y2:g}"
