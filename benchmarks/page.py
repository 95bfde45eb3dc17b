"""A result file in Markdown."""

from collections.abc import Mapping, Sequence


class Page:
    """Parts are added from top to bottom."""

    def __init__(self, title: str, first: str) -> None:
        self._parts = [f"# {title}", first]

    def section(self, title: str) -> None:
        self._parts.append(f"## {title}")

    def text(self, text: str) -> None:
        self._parts.append(text)

    def facts(self, facts: Mapping[str, str]) -> None:
        self._parts.append("\n".join(f"- {name}: {value}" for name, value in facts.items()))

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The first column is aligned to the left, all others to the right."""
        lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
        self._parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))

    def markdown(self) -> str:
        return "\n\n".join(self._parts) + "\n"
