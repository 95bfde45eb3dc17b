"""The demo's output: steps, a progress bar, timelines. Works on a terminal and in a log file."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

console = Console(highlight=False, soft_wrap=True)

BAR_WIDTH = 40


def step(what: str) -> None:
    console.print(f"\n[bold]{what}[/]")


def say(text: str) -> None:
    console.print(f"  {text}")


def show_json(value: Any) -> None:
    for line in json.dumps(value, indent=2).splitlines():
        console.print(f"    {line}", style="dim", markup=False)


def timeline(entries: list[dict[str, Any]]) -> None:
    """Print a message's events, one per line: time, type, detail."""
    for entry in entries:
        line = f"    {entry['at'][11:23]}  {entry['type']:<16} {entry['detail'] or ''}"
        console.print(line.rstrip(), style="dim", markup=False)


def fail(sentence: str) -> None:
    console.print("\n[bold red]Failed:[/] ", end="")
    console.print(sentence, markup=False)


@contextmanager
def bar() -> Iterator[Callable[[float, str], None]]:
    """Yields a function to show a percentage and a message: in place on a terminal, else one line per change."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield _plain_bar
        return
    columns = TextColumn("  "), BarColumn(BAR_WIDTH), TextColumn("{task.percentage:>3.0f} %  {task.description}")
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("", total=100)
        yield lambda percent, message: progress.update(task, completed=percent, description=message)


def _plain_bar(percent: float, message: str) -> None:
    done = round(BAR_WIDTH * percent / 100)
    say(f"{'#' * done}{'.' * (BAR_WIDTH - done)} {percent:>3.0f} %  {message}")
