"""Failures that are the same have the same fingerprint."""

import pytest

from monitor.fingerprint import fingerprint, place_of

OURS = '  File "/srv/app/project/kinds.py", line {}, in activity\n    count()\n'
LIBRARY = '  File "/srv/.venv/lib/python3.11/site-packages/django/db/utils.py", line 90, in __exit__\n    raise\n'


def test_the_place_is_the_innermost_frame_of_our_own_code() -> None:
    assert place_of(f"Traceback:\n{OURS.format(7)}{LIBRARY}Error: x") == "app/project/kinds.py in activity"


@pytest.mark.parametrize(("traceback", "place"), [("", ""), (LIBRARY, "django/db/utils.py in __exit__")])
def test_without_a_frame_of_our_code_the_place_is_the_innermost_frame_or_empty(traceback: str, place: str) -> None:
    assert place_of(traceback) == place


def test_an_edit_that_moves_lines_keeps_the_place() -> None:
    assert place_of(OURS.format(7)) == place_of(OURS.format(12))


def test_kind_exception_and_place_make_a_difference() -> None:
    marks = {fingerprint(*parts) for parts in (("a", "b", "c"), ("x", "b", "c"), ("a", "x", "c"), ("a", "b", "x"))}
    assert len(marks) == 4
