"""The report's pictures: inline SVG, coloured by classes of the style sheet, the numbers in their tooltips.

Pictures that must fit any width have their text in the page and are stretched; the others keep their proportions.
Numbers are rounded to what is drawn, so that the same file gives the same bytes on any machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

FAINTEST = 0.04  # opacity: what is next to nothing is not seen


def number(value: float) -> str:
    """A coordinate: at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def signed(value: float) -> str:
    """A contribution with its sign, two decimals."""
    return f"{value:+.2f}".replace("-", "−")


def heat(rows: Sequence[tuple[str, Sequence[float]]], layers: Sequence[int], largest: float) -> str:
    """A row of cells for each (what, values by layer): blue adds to the answer, orange takes from it.

    A cell has the full colour where its size is ``largest``.
    """
    cells = []
    for place, (what, values) in enumerate(rows):
        top = number(place * 1.1)
        cells.append(f'<rect class="track" x="0" y="{top}" width="{len(layers)}" height="1"/>')
        for x, (layer, value) in enumerate(zip(layers, values, strict=True)):
            strength = abs(value) / largest if largest else 0.0
            if strength >= FAINTEST:
                kind = "adds" if value > 0 else "takes"
                cells.append(
                    f'<rect class="{kind}" x="{x}" y="{top}" width="1" height="1" fill-opacity="{number(strength)}">'
                    f"<title>layer {layer}, {what}: {signed(value)}</title></rect>"
                )
    height = number(len(rows) * 1.1 - 0.1)
    label = escape(", ".join(what for what, _ in rows))
    return (
        f'<svg class="heat" viewBox="0 0 {len(layers)} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label} by layer">{"".join(cells)}</svg>'
    )


def shares(parts: Sequence[tuple[str, float, str]]) -> str:
    """One bar from parts (class, size, tooltip), as wide as the page lets it be."""
    total = sum(size for _, size, _ in parts)
    drawn, x = ['<rect class="track" x="0" y="0" width="100" height="1"/>'], 0.0
    for kind, size, what in parts:
        width = 100 * size / total if total else 0.0
        drawn.append(
            f'<rect class="{kind}" x="{number(x)}" y="0" width="{number(width)}" height="1">'
            f"<title>{escape(what)}</title></rect>"
        )
        x += width
    label = escape("; ".join(what for *_, what in parts))
    return (
        f'<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"{''.join(drawn)}</svg>"
    )


def by_layer(title: str, layers: Sequence[int], values: Sequence[float], bands: Sequence[str]) -> str:
    """A line over layers, on the bands' grounds: the evidence for them."""
    width, height, left, top, bottom = 300, 130, 44, 24, 22
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    step = (width - left - 6) / len(layers)

    def across(place: float) -> float:
        return left + place * step

    def up(value: float) -> float:
        return height - bottom - 4 - (value - low) / spread * (height - bottom - top - 8)

    grounds, start = [], 0
    for end in range(1, len(layers) + 1):
        if end == len(layers) or bands[end] != bands[start]:
            grounds.append(
                f'<rect class="band {bands[start]}" x="{number(across(start))}" y="{top}" '
                f'width="{number((end - start) * step)}" height="{height - bottom - top}"/>'
            )
            start = end
    points = " ".join(f"{number(across(x + 0.5))},{number(up(value))}" for x, value in enumerate(values))
    ticks = "".join(
        f'<text x="{number(across(x + 0.5))}" y="{height - 7}" text-anchor="middle">{layers[x]}</text>'
        for x in tick_places(len(layers))
    )
    scale = "".join(
        f'<text x="{left - 5}" y="{number(up(value) + 4)}" text-anchor="end">{value:.3g}</text>'
        for value in sorted({low, high})
    )
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)} by layer">'
        f'<text class="name" x="0" y="14">{escape(title)}</text>{"".join(grounds)}'
        f'<polyline class="line" points="{points}"/>{scale}{ticks}</svg>'
    )


def tick_places(count: int) -> list[int]:
    """Which of ``count`` layers are named on an axis: about six, the first among them."""
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 1000) if count / size <= 7)
    return list(range(0, count, step))


def calibration(bins: Sequence[tuple[float, float, int]]) -> str:
    """Confidence against what held, a dot for each bin, as large as it has edges; the diagonal is being right."""
    size, left, bottom, top = 340, 52, 46, 10
    side = size - left - 10

    def across(share: float) -> float:
        return left + share * side

    def up(share: float) -> float:
        return top + (1 - share) * side

    drawn = [f'<rect class="track" x="{left}" y="{top}" width="{side}" height="{side}"/>']
    for tick in (0, 0.25, 0.5, 0.75, 1):
        column, line = number(across(tick)), number(up(tick))
        drawn += (
            f'<line class="grid" x1="{column}" y1="{top}" x2="{column}" y2="{top + side}"/>',
            f'<line class="grid" x1="{left}" y1="{line}" x2="{left + side}" y2="{line}"/>',
            f'<text x="{column}" y="{top + side + 16}" text-anchor="middle">{tick:g}</text>',
            f'<text x="{left - 6}" y="{number(up(tick) + 4)}" text-anchor="end">{tick:g}</text>',
        )
    drawn.append(f'<line class="ideal" x1="{left}" y1="{top + side}" x2="{left + side}" y2="{top}"/>')
    most = max((count for *_, count in bins), default=1)
    places = [(across(mean), up(held)) for mean, held, _ in bins]
    drawn.append(f'<polyline class="line" points="{" ".join(f"{number(x)},{number(y)}" for x, y in places)}"/>')
    for (x, y), (mean, held, count) in zip(places, bins, strict=True):
        radius = 3 + 6 * (count / most) ** 0.5
        drawn.append(
            f'<circle class="dot" cx="{number(x)}" cy="{number(y)}" r="{number(radius)}">'
            f"<title>confidence {mean:.2f}: held {held:.2f} of {count:,}</title></circle>"
        )
    middle = number(left + side / 2)
    drawn += (
        f'<text x="{middle}" y="{top + side + 36}" text-anchor="middle">confidence</text>',
        f'<text transform="translate(14 {number(top + side / 2)}) rotate(-90)" text-anchor="middle">'
        "share that held on another wording</text>",
    )
    return (
        f'<svg class="chart plot" viewBox="0 0 {size} {top + side + bottom}" role="img" '
        f'aria-label="Calibration curve">{"".join(drawn)}</svg>'
    )
