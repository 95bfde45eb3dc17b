"""docs/job-lifecycle.md and docs/mail-lifecycle.md say what the code does."""

from pathlib import Path

import pytest

from jobs.models import Job
from jobs.models.states import TRANSITIONS
from tests.generated_pages.job_lifecycle import CONSTRAINTS, STEPS
from tests.generated_pages.pages import PAGES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_generated_page_is_up_to_date(path: Path) -> None:
    assert path.read_text() == PAGES[path](), "run python -m tests.generated_pages"


def test_no_text_is_about_a_transition_that_does_not_exist() -> None:
    assert set(STEPS) == {(old, new) for old, following in TRANSITIONS.items() for new in following}


def test_no_text_is_about_a_constraint_that_does_not_exist() -> None:
    assert set(CONSTRAINTS) == {constraint.name for constraint in Job._meta.constraints}
