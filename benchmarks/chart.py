"""Charts as SVG text, legible on light and dark pages: bars for a comparison, columns for a development."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 860
LABELS = 210
"""Pixels that the names of the bars take."""
VALUES = 90
ROW = 28
TOP = 46

STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.value { font-variant-numeric: tabular-nums }
.ours { fill: #1a7f64 }
.theirs { fill: #8c959f }
.our-line { stroke: #1a7f64; stroke-width: 2; fill: none }
.their-line { stroke: #8c959f; stroke-width: 1.5; fill: none }
.axis { stroke: #8c959f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .theirs { fill: #6e7681 } .ours { fill: #3fb58f } }
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """One bar. shown: its value as text. ours: whether it is drawn in the strong colour."""

    label: str
    value: float
    shown: str
    ours: bool = False


def bars(title: str, marks: Sequence[Mark]) -> str:
    """Horizontal bars from the highest value to the lowest."""
    ranked = sorted(marks, key=lambda mark: -mark.value)
    height = TOP + ROW * len(ranked) + 12
    return _svg(title, height, _bars(ranked))


def columns(title: str, marks: Sequence[Mark], height: int = 320) -> str:
    """Vertical bars in the given order."""
    return _svg(title, height, _columns(marks, height))


def lines(title: str, series: Sequence[tuple[Sequence[float], bool]], height: int = 320) -> str:
    """Curves over the same time, from 0 to the highest value of all. Each: its values, and whether it is ours."""
    return _svg(title, height, _lines(series, height))


def _bars(marks: Sequence[Mark]) -> Iterator[str]:
    room = WIDTH - LABELS - VALUES
    most = max((mark.value for mark in marks), default=0) or 1
    for row, mark in enumerate(marks):
        y = TOP + row * ROW
        length = max(room * mark.value / most, 1)
        yield _text(LABELS - 10, y + 17, mark.label, anchor="end")
        yield _rect(LABELS, y + 3, length, ROW - 8, mark)
        yield _text(LABELS + length + 8, y + 17, mark.shown, kind="value")


def _columns(marks: Sequence[Mark], height: int) -> Iterator[str]:
    ground = height - 40
    most = max((mark.value for mark in marks), default=0) or 1
    step = (WIDTH - 40) / max(len(marks), 1)
    for place, mark in enumerate(marks):
        middle = 20 + step * (place + 0.5)
        tall = (ground - TOP - 20) * mark.value / most
        yield _rect(middle - step * 0.3, ground - tall, step * 0.6, tall, mark)
        yield _text(middle, ground - tall - 8, mark.shown, anchor="middle", kind="value")
        yield _text(middle, ground + 22, mark.label, anchor="middle")
    yield f'<line class="axis" x1="20" x2="{WIDTH - 20}" y1="{ground}" y2="{ground}"/>'


def _lines(series: Sequence[tuple[Sequence[float], bool]], height: int) -> Iterator[str]:
    ground = height - 40
    most = max((max(values, default=0) for values, _ in series), default=0) or 1
    for values, ours in series:
        step = (WIDTH - 80) / max(len(values) - 1, 1)
        heights = (ground - (ground - TOP) * value / most for value in values)
        points = " ".join(f"{60 + place * step:.1f},{y:.1f}" for place, y in enumerate(heights))
        yield f'<polyline class="{"our" if ours else "their"}-line" points="{points}"/>'
    yield f'<line class="axis" x1="60" x2="{WIDTH - 20}" y1="{ground}" y2="{ground}"/>'
    yield _text(52, TOP + 6, f"{most:,.0f}", anchor="end", kind="value")
    yield _text(52, ground + 4, "0", anchor="end", kind="value")


def _svg(title: str, height: int, parts: Iterator[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    lines = [f'{head} role="img" aria-label="{escape(title)}">', f"<style>{STYLE}</style>"]
    return "\n".join([*lines, _text(20, 26, title, kind="title"), *parts, "</svg>", ""])


def _rect(x: float, y: float, width: float, height: float, mark: Mark) -> str:
    kind = "ours" if mark.ours else "theirs"
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    classes = f' class="{kind}"' if kind else ""
    return f'<text{classes} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
