"""Charts as SVG, made on the server: no script, no inline style, colours by class (static/monitor/monitor.css)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from monitor.templatetags.monitor_tags import duration

WIDTH, HEIGHT = 640, 190
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 10, 22

Numbers = Sequence[float | None]
Say = Callable[[float], str]


@dataclass(frozen=True)
class Series:
    """name: for the legend. colour: a class lw-c-…. values: one for each moment; None leaves a gap."""

    name: str
    colour: str
    values: Numbers


@dataclass(frozen=True)
class Axis:
    """moments: the beginnings of the intervals. marks: names of releases and when they first ran."""

    moments: Sequence[datetime]
    step: timedelta
    marks: Sequence[tuple[str, datetime]] = ()

    def x(self, position: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * position / max(len(self.moments), 1)

    def x_of(self, moment: datetime) -> float | None:
        position = (moment - self.moments[0]) / self.step
        return self.x(position) if 0 <= position <= len(self.moments) else None


def bars(title: str, axis: Axis, series: Sequence[Series], say: Say = lambda number: f"{number:,.0f}") -> SafeString:
    """Stacked bars, one for each moment."""
    totals = [sum(each.values[i] or 0 for each in series) for i in range(len(axis.moments))]
    top = _nice(max(totals, default=0))
    width = max(axis.x(1) - axis.x(0) - 1, 1)
    parts, base = [], [0.0] * len(axis.moments)
    for each in series:
        for i, value in enumerate(each.values):
            if not value:
                continue
            height = _height(value, top)
            y = HEIGHT - BOTTOM - _height(base[i], top) - height
            base[i] += value
            tip = f"{axis.moments[i]:%H:%M} {each.name}: {say(value)}"
            parts.append((each.colour, f"{axis.x(i):.1f}", f"{y:.1f}", f"{width:.1f}", f"{max(height, 1):.1f}", tip))
    rects = format_html_join(
        "", '<rect class="lw-c-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>', parts
    )
    return _chart(title, axis, top, say, rects, series)


def lines(title: str, axis: Axis, series: Sequence[Series], say: Say = duration) -> SafeString:
    """A line for each series; moments without a value are left out."""
    top = _nice(max((value for each in series for value in each.values if value is not None), default=0))
    drawn = format_html_join(
        "",
        '<path class="lw-line lw-c-{}" d="{}"><title>{}</title></path>',
        ((each.colour, _path(axis, each.values, top), each.name) for each in series),
    )
    return _chart(title, axis, top, say, drawn, series)


def sparkline(values: Sequence[int]) -> SafeString:
    """Small bars without axes, for a cell of a table."""
    top, width = max([*values, 1]), 100 / max(len(values), 1)
    parts = []
    for i, value in enumerate(values):
        height = 22 * value / top
        parts.append((f"{i * width:.1f}", f"{24 - height:.1f}", f"{width * 0.8:.1f}", f"{height:.1f}", value))
    rects = format_html_join(
        "", '<rect class="lw-c-failed" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>', parts
    )
    label = f"Trend: {', '.join(map(str, values))}"
    return format_html(
        '<svg class="lw-spark lw-chart" viewBox="0 0 100 24" preserveAspectRatio="none" role="img"'
        ' aria-label="{}">{}</svg>',
        label,
        rects,
    )


def _path(axis: Axis, values: Numbers, top: float) -> str:
    path, pen = [], "M"
    for i, value in enumerate(values):
        if value is None:
            continue
        path.append(f"{pen}{axis.x(i + 0.5):.1f} {HEIGHT - BOTTOM - _height(value, top):.1f}")
        pen = "L"
    if len(path) == 1:
        path.append("h2")
    return "".join(path)


def _height(value: float, top: float) -> float:
    return (HEIGHT - TOP - BOTTOM) * value / top


def _nice(number: float) -> float:
    """A round number above this one, for the axis."""
    if number <= 0:
        return 1.0
    size = 1.0
    while size * 10 <= number:
        size *= 10
    while size > number:
        size /= 10
    return next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= number)


def _chart(title: str, axis: Axis, top: float, say: Say, content: SafeString, series: Sequence[Series]) -> SafeString:
    grid = format_html_join(
        "",
        '<line class="lw-grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>',
        (
            (LEFT, WIDTH - RIGHT, f"{y:.1f}", f"{y:.1f}", LEFT - 6, f"{y + 4:.1f}", say(top * part))
            for part in (0, 0.5, 1)
            for y in [HEIGHT - BOTTOM - _height(top * part, top)]
        ),
    )
    every = max(len(axis.moments) // 6, 1)
    times = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle">{}</text>',
        (
            (f"{axis.x(i):.1f}", HEIGHT - 6, f"{axis.moments[i]:%H:%M}")
            for i in range(every // 2, len(axis.moments), every)
        ),
    )
    marks = format_html_join(
        "",
        '<line class="lw-release" x1="{}" x2="{}" y1="{}" y2="{}"><title>release {}</title></line>',
        (
            (f"{x:.1f}", f"{x:.1f}", TOP, HEIGHT - BOTTOM, name)
            for name, moment in axis.marks
            if (x := axis.x_of(moment)) is not None
        ),
    )
    legend = format_html_join(
        "",
        '<span><i class="lw-dot lw-c-{}"></i>{}</span>',
        ((each.colour, each.name) for each in series),
    )
    return format_html(
        '<figure><svg class="lw-chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}{}</svg>'
        '<figcaption class="lw-legend">{}</figcaption></figure>',
        *(WIDTH, HEIGHT, _summary(title, series, say), grid, content, times, marks, legend),
    )


def _summary(title: str, series: Sequence[Series], say: Say) -> str:
    """What a screen reader says: the latest and the highest value of each series."""
    said = []
    for each in series:
        known = [value for value in each.values if value is not None]
        if known:
            said.append(f"{each.name} last {say(known[-1])}, highest {say(max(known))}")
    return f"{title}. {'; '.join(said) or 'no data'}."
