"""Charts as inline SVG. Colours are classes of `style.css`, so that they follow the scheme.

A chart's numbers are in words in its `<desc>`. What is passed as text is escaped here.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["bar", "curves", "dots", "histogram", "quantile", "stacked"]

_WIDTH, _HEIGHT = 240, 130
# What lies around a plot: left for nothing, top for a label, bottom for the axis.
_TOP, _BOTTOM = 14, 20
_BINS = 24
Number = int | float


def bar(share: float) -> str:
    """Draws a bar as wide as its cell times a share from 0 to 1. The cell says the number."""
    width = f"{100 * min(max(share, 0.0), 1.0):.2f}%"
    return (
        f'<svg class="bar" aria-hidden="true"><rect class="rest" width="100%" height="100%"/>'
        f'<rect class="accent" width="{width}" height="100%"/></svg>'
    )


def stacked(shares: Sequence[float]) -> str:
    """Draws shares that add up to 1, one behind the other, ever paler."""
    left, parts = 0.0, []
    for number, share in enumerate(shares):
        place = f'x="{100 * left:.2f}%" width="{100 * share:.2f}%"'
        parts.append(f'<rect class="band{number}" {place} height="100%"/>')
        left += share
    return f'<svg class="bar" aria-hidden="true">{"".join(parts)}</svg>'


def quantile(values: Sequence[Number], share: float) -> float:
    """Returns the value below which a share of the values lies; NaN for none."""
    if not values:
        return math.nan
    return float(sorted(values)[min(int(share * len(values)), len(values) - 1)])


def histogram(
    title: str,
    values: Sequence[Number],
    *,
    lost: Sequence[Number] = (),
    low: float | None = None,
    high: float | None = None,
    marks: Iterable[float] = (),
    digits: int = 0,
) -> str:
    """Draws how often values occur, as a figure.

    Args:
        lost: Values of dropped rows, which stand on the others in another colour.
        low, high: Ends of the axis. What lies beyond counts in the first and the last bar.
        marks: Places at which a line stands, such as a threshold.
        digits: Decimals of the numbers.
    """
    both = [*values, *lost]
    if not both:
        return ""
    start = min(both) if low is None else low
    # One very long text would press all others into the first bar.
    end = quantile(both, 0.99) if high is None else high
    span = (end - start) or 1.0
    counts = [_counted(each, start, span) for each in (values, lost)]
    most = max(map(sum, zip(*counts, strict=True)))
    tall, wide = _HEIGHT - _TOP - _BOTTOM, _WIDTH / _BINS
    bars = []
    for place, (kept, dropped) in enumerate(zip(*counts, strict=True)):
        foot = float(_TOP + tall)
        for count, name in ((kept, "accent"), (dropped, "warn")):
            height = tall * count / most
            foot -= height
            box = f'x="{place * wide:.1f}" y="{foot:.1f}" width="{wide - 1:.1f}"'
            bars += [f'<rect class="{name}" {box} height="{height:.1f}"/>'] * bool(count)
    for mark in marks:
        x = _WIDTH * min(max((mark - start) / span, 0.0), 1.0)
        side = "end" if x > _WIDTH / 2 else "start"
        shift = -4 if side == "end" else 4
        bars.append(
            f'<path class="mark" d="M{x:.1f} 0V{_HEIGHT - _BOTTOM}"/>'
            f'<text x="{x + shift:.1f}" y="10" text-anchor="{side}">threshold {mark:g}</text>'
        )
    beyond = "+" if max(both) > end else ""
    ticks = (start, "start", ""), (start + span / 2, "middle", ""), (start + span, "end", beyond)
    for tick, anchor, sign in ticks:
        x = _WIDTH * (tick - start) / span
        text = f"{tick:,.{digits}f}{sign}"
        bars.append(f'<text x="{x:.0f}" y="{_HEIGHT - 4}" text-anchor="{anchor}">{text}</text>')
    axis = f'<path class="axis" d="M0 {_HEIGHT - _BOTTOM}.5H{_WIDTH}"/>'
    found = [f"{quantile(both, share):,.{digits}f}" for share in (0.5, 0.05, 0.95)]
    said = f"median {found[0]}, nine in ten from {found[1]} to {found[2]}"
    if lost:
        said += f"; in orange {len(lost):,} dropped rows"
    what = f"{said}; {len(both):,} rows in all"
    return _figure(title, said, _svg(title, what, "".join(bars) + axis))


def _counted(values: Iterable[Number], start: float, span: float) -> list[int]:
    counts = [0] * _BINS
    for value in values:
        counts[min(max(int(_BINS * (value - start) / span), 0), _BINS - 1)] += 1
    return counts


def dots(
    title: str,
    points: Iterable[tuple[float, float]],
    *,
    highlighted: Iterable[tuple[float, float]] = (),
    links: Iterable[tuple[str, tuple[float, float], tuple[float, float]]] = (),
    size: int = 640,
    said: str = "",
) -> str:
    """Draws points of the unit square, as a figure.

    Args:
        points: Pale where others are highlighted.
        size: Units of the picture's width.
        links: Row ids with the row's place and that of the row which it duplicates: a line leads
            from one to the other, and a click to the row.
    """
    points, highlighted = list(points), list(highlighted)
    # Thousands of dots would be one blot if they were as large as a hundred are.
    dot = max(min(size / 64, size / (2 * math.sqrt(len(points) + len(highlighted) + 1))), 4)
    shape = f'stroke-width="{dot:.0f}"'
    drawn = [f'<path class="dots" {shape} d="{_dots(points, size)}"/>']
    drawn.append(f'<path class="dots accent" {shape} d="{_dots(highlighted, size)}"/>')
    for name, (x, y), (to_x, to_y) in links:
        # Out of the tab order, which thousands of them would fill: the browser lists them, too.
        drawn.append(
            f'<a href="#row-{html.escape(name)}" tabindex="-1">'
            f'<path class="link" d="M{_at(x, size)} {_at(y, size)}L{_at(to_x, size)} '
            f'{_at(to_y, size)}"/><circle class="warn" cx="{_at(x, size)}" cy="{_at(y, size)}" '
            'r="6"/></a>'
        )
    body = "".join(drawn)
    return _figure(title, said, _svg(title, said, body, (size, size), f"map{size}"))


def _dots(points: Iterable[tuple[float, float]], size: int) -> str:
    # A stroke of no length with round ends is a dot, and a tenth of a circle's bytes.
    return "".join(f"M{_at(x, size)} {_at(y, size)}h0" for x, y in points)


def _at(share: float, size: int) -> str:
    return f"{8 + share * (size - 16):.0f}"


def curves(title: str, series: Mapping[str, Sequence[tuple[float, float]]], unit: str) -> str:
    """Draws lines over steps, as a figure: the first pale, the second in the accent colour."""
    known = {name: points for name, points in series.items() if points}
    values = [point for points in known.values() for point in points]
    if not values:
        return ""
    last = max(x for x, _ in values) or 1.0
    # Single steps may jump; the axis holds all but the highest hundredth.
    top = quantile([y for _, y in values], 0.99) or 1.0
    wide, tall = 3 * _WIDTH, 2 * _HEIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        return wide * x / last, tall - _BOTTOM - (tall - _BOTTOM - _TOP) * min(y / top, 1.05)

    drawn, words = [], []
    for number, (name, points) in enumerate(series.items()):
        if not points:
            continue
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in points))
        drawn.append(f'<path class="line line{number}" d="M{path}"/>')
        words.append(f"{name} from {points[0][1]:.3f} to {points[-1][1]:.3f}")
    drawn.append(f'<path class="axis" d="M0 {tall - _BOTTOM}.5H{wide}"/>')
    drawn.append(f'<text x="0" y="10">{top:.2f} {html.escape(unit)}</text>')
    drawn.append(f'<text x="0" y="{tall - 4}">step 0</text>')
    drawn.append(f'<text x="{wide}" y="{tall - 4}" text-anchor="end">step {last:,.0f}</text>')
    said = "; ".join(words)
    return _figure(title, said, _svg(title, said, "".join(drawn), (wide, tall)))


def _svg(
    title: str, what: str, body: str, size: tuple[int, int] = (_WIDTH, _HEIGHT), name: str = ""
) -> str:
    named = f"<title>{html.escape(title)}</title><desc>{html.escape(what)}</desc>"
    return (
        f'<svg class="chart {name}" viewBox="0 0 {size[0]} {size[1]}" role="img" '
        f'aria-label="{html.escape(f"{title}: {what}")}">{named}{body}</svg>'
    )


def _figure(title: str, said: str, svg: str) -> str:
    note = f"<span>{html.escape(said)}</span>" if said else ""
    return f"<figure><figcaption><b>{html.escape(title)}</b>{note}</figcaption>{svg}</figure>"
