"""Synthetic handwriting: the digits that stand for MNIST, in its file format and its sizes.

Each digit is a few strokes, drawn slanted, stretched and out of place with a fixed seed. Some
hundred drawings are repeated at other places of the square, as one of each takes long to draw.
"""

import gzip
import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

SIDE, IMAGES = 28, {"train": 60_000, "t10k": 10_000}
"""Pixels, and digits of each part."""

_SEEDS = {"train": 1, "t10k": 2}
_DRAWINGS = 20
"""Different ones of each digit."""
_MOST_SHIFT = 2
"""Pixels; drawings keep as much free at their edges."""

Point = tuple[float, float]


def files(folder: str) -> dict[str, Callable[[], bytes]]:
    """The addresses of the four files in a folder, and what makes each."""
    made: dict[str, Callable[[], bytes]] = {}
    for part in IMAGES:
        made[f"{folder}/{part}-images-idx3-ubyte.gz"] = partial(_images, part)
        made[f"{folder}/{part}-labels-idx1-ubyte.gz"] = partial(_labels, part)
    return made


def _labels(part: str) -> bytes:
    digits = bytes(_digits(part))
    return _compressed(_header(1, len(digits)) + digits)


def _images(part: str) -> bytes:
    draw = Random(_SEEDS[part])
    drawings = [[_drawing(digit, draw) for _ in range(_DRAWINGS)] for digit in range(10)]
    digits = _digits(part)
    places = range(-_MOST_SHIFT, _MOST_SHIFT + 1)
    shifts = [row * SIDE + column for row in places for column in places]
    images = [_moved(draw.choice(drawings[digit]), draw.choice(shifts)) for digit in digits]
    return _compressed(_header(3, len(digits), SIDE, SIDE) + b"".join(images))


def _digits(part: str) -> list[int]:
    return Random(f"digits of {part}").choices(range(10), k=IMAGES[part])


def _header(dimensions: int, *sizes: int) -> bytes:
    """The head of an IDX file of bytes."""
    return bytes([0, 0, 8, dimensions]) + b"".join(size.to_bytes(4, "big") for size in sizes)


def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=1, mtime=0)


def _moved(image: bytes, places: int) -> bytes:
    """An image moved by so many places of its rows one after another; its edges are blank."""
    blank = bytes(abs(places))
    return blank + image[:-places] if places > 0 else image[-places:] + blank


def _drawing(digit: int, draw: Random) -> bytes:
    """One digit, white on black, drawn by a shaky hand."""
    slant, turn = draw.gauss(0.1, 0.12), draw.gauss(0, 0.08)
    width, height = draw.uniform(4.5, 7), draw.uniform(7.5, 9)
    thick = draw.uniform(0.9, 1.6)
    lines: list[tuple[Point, Point]] = []
    for stroke in _STROKES[digit]:
        shaky = [(x + draw.gauss(0, 0.05), y + draw.gauss(0, 0.05)) for x, y in stroke]
        sheared = [(x - slant * y, y + turn * x) for x, y in shaky]
        middle = (SIDE - 1) / 2
        points = [(middle + width * x, middle + height * y) for x, y in sheared]
        lines += itertools.pairwise(points)
    edge = _MOST_SHIFT
    pixels = bytearray(SIDE * SIDE)
    for row in range(edge, SIDE - edge):
        for column in range(edge, SIDE - edge):
            away = min(_distance((column, row), *line) for line in lines)
            pixels[row * SIDE + column] = round(255 * min(1.0, max(0.0, thick + 0.5 - away)))
    return bytes(pixels)


def _distance(point: Point, start: Point, end: Point) -> float:
    """From a point to a line that has two ends."""
    (x, y), (left, top) = point, start
    across, down = end[0] - left, end[1] - top
    length = across * across + down * down or 1.0
    along = min(1.0, max(0.0, ((x - left) * across + (y - top) * down) / length))
    return math.hypot(x - left - along * across, y - top - along * down)


def _arc(x: float, y: float, wide: float, high: float, start: int, end: int) -> list[Point]:
    """Points of an ellipse, from one angle to another: degrees, clockwise from the right."""
    return list(_points(x, y, wide, high, start, end))


def _points(x: float, y: float, wide: float, high: float, start: int, end: int) -> Iterator[Point]:
    steps = 8
    for step in range(steps + 1):
        angle = math.radians(start + (end - start) * step / steps)
        yield x + wide * math.cos(angle), y + high * math.sin(angle)


_STROKES: dict[int, list[list[Point]]] = {
    0: [_arc(0, 0, 0.8, 1, 0, 360)],
    1: [[(-0.4, -0.6), (0, -1), (0, 1)]],
    2: [[*_arc(0, -0.45, 0.7, 0.55, 180, 390), (-0.8, 1), (0.8, 1)]],
    3: [_arc(0, -0.5, 0.65, 0.5, 200, 450), _arc(0, 0.5, 0.75, 0.5, 270, 520)],
    4: [[(0.4, 1), (0.4, -1), (-0.8, 0.35), (0.8, 0.35)]],
    5: [[(0.7, -1), (-0.6, -1), (-0.6, -0.1)], [(-0.6, -0.1), *_arc(0, 0.4, 0.75, 0.6, 240, 510)]],
    6: [[(0.5, -1), (-0.3, -0.5), (-0.7, 0.4)], _arc(0, 0.45, 0.7, 0.55, 0, 360)],
    7: [[(-0.8, -1), (0.8, -1), (-0.2, 1)]],
    8: [_arc(0, -0.5, 0.6, 0.5, 0, 360), _arc(0, 0.5, 0.75, 0.5, 0, 360)],
    9: [_arc(0, -0.45, 0.7, 0.55, 0, 360), [(0.7, -0.45), (0.5, 1)]],
}
