"""docs/operations/failures.md names for each part that can fail tests that exist."""

import re

import pytest

from demo.stack import ROOT

PAGE = (ROOT / "docs/operations/failures.md").read_text()
TESTS = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)


def parts(heading: str) -> list[str]:
    """The first column of the table that begins so."""
    table = PAGE.partition(heading)[2].partition("\n\n")[0]
    return re.findall(r"^\| (?!part )(.+?) \|", table, re.MULTILINE)


def test_each_part_that_can_fail_has_a_row_of_tests() -> None:
    assert len(parts("| part | while it is away")) > 10
    assert parts("| part | while it is away") == parts("| part | tests |")


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_a_test_that_the_page_names_exists(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / file).read_text()
