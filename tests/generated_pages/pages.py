"""The generated pages by their paths."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.generated_pages import DOCS, job_lifecycle, mail_lifecycle

PAGES: Mapping[Path, Callable[[], str]] = {
    DOCS / "job-lifecycle.md": job_lifecycle.page,
    DOCS / "mail-lifecycle.md": mail_lifecycle.page,
}
