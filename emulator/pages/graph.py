"""The steps of a pipeline job as a drawing: layers from top to bottom, arrows along the data."""

from collections.abc import Iterable
from dataclasses import dataclass, field

NODE_WIDTH, NODE_HEIGHT = 200, 52
GAP_X, GAP_Y = 36, 44
MARGIN = 12


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

    @property
    def label(self) -> str:
        return self.key if len(self.key) <= 26 else f"...{self.key[-24:]}"


@dataclass(frozen=True)
class Drawing:
    nodes: list[Node]
    arrows: list[str]
    """SVG paths."""
    width: float
    height: float


def draw(nodes: Iterable[Node]) -> Drawing:
    """Places for the nodes, which know whom they read from, and the arrows between them."""
    known = {node.key: node for node in nodes}
    layers: dict[int, list[Node]] = {}
    depth: dict[str, int] = {}
    for key in known:
        layers.setdefault(_depth(key, known, depth, ()), []).append(known[key])
    widest = max((len(layer) for layer in layers.values()), default=1)
    width = 2 * MARGIN + widest * NODE_WIDTH + (widest - 1) * GAP_X
    for number, layer in sorted(layers.items()):
        # Below what they read from, as far as there is room.
        layer.sort(key=lambda node: _middle(node, known))
        row = len(layer) * NODE_WIDTH + (len(layer) - 1) * GAP_X
        for place, node in enumerate(layer):
            node.x = (width - row) / 2 + place * (NODE_WIDTH + GAP_X)
            node.y = MARGIN + number * (NODE_HEIGHT + GAP_Y)
    height = 2 * MARGIN + len(layers) * NODE_HEIGHT + max(0, len(layers) - 1) * GAP_Y
    arrows = [
        _arrow(known[source], node)
        for node in known.values()
        for source in sorted(node.reads & known.keys())
    ]
    return Drawing(list(known.values()), arrows, width, height)


def _depth(key: str, known: dict[str, Node], depth: dict[str, int], above: tuple[str, ...]) -> int:
    if key in depth:
        return depth[key]
    sources = [s for s in known[key].reads if s in known and s not in above and s != key]
    found = max((1 + _depth(s, known, depth, (*above, key)) for s in sources), default=0)
    depth[key] = found
    return found


def _middle(node: Node, known: dict[str, Node]) -> float:
    places = [known[source].x for source in node.reads if source in known]
    return sum(places) / len(places) if places else 0


def _arrow(source: Node, target: Node) -> str:
    x1, y1 = source.x + NODE_WIDTH / 2, source.y + NODE_HEIGHT
    x2, y2 = target.x + NODE_WIDTH / 2, target.y - 6
    bend = max(20, (y2 - y1) / 2)
    return f"M{x1:g},{y1:g} C{x1:g},{y1 + bend:g} {x2:g},{y2 - bend:g} {x2:g},{y2:g}"
