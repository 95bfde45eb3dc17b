"""Pages of the documentation that are written from the code: `python -m tests.generated_pages` writes them.

tests/repository/test_generated_pages.py fails when a page is out of date.
"""

import inspect
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum

from demo.stack import ROOT

DOCS = ROOT / "docs"

UNITS = (("day", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def row(*cells: object) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |\n"


def table(*head: str) -> str:
    """The first two lines of a Markdown table."""
    return row(*head) + f"|{'---|' * len(head)}\n"


def span(time: timedelta | float) -> str:
    """A duration as people write it: 90 days, 15 min, 0.2 s."""
    seconds = time.total_seconds() if isinstance(time, timedelta) else time
    name, unit = next((name, unit) for name, unit in (*UNITS, ("s", 1)) if not seconds % unit or name == "s")
    count = f"{seconds / unit:g}"
    return f"{count} {name}s" if name == "day" and count != "1" else f"{count} {name}"


def comments(states: type[Enum]) -> Mapping[str, str]:
    """The comment behind each member of an enum in its source, by the member's value."""
    found = re.findall(r'^\s+[A-Z_]+ = "(\w+)"  # (.+)$', inspect.getsource(states), re.MULTILINE)
    return dict(found)
