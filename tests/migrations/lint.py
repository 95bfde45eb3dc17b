"""Lints the migrations of some apps with django-migration-linter, initial ones excepted."""

import contextlib
import io
from collections.abc import Sequence

from django_migration_linter import MigrationLinter

OURS = ("project", "monitor", "mail", "jobs", "rest")
ERRORS = ("CREATE_INDEX", "CREATE_INDEX_EXCLUSIVE", "DROP_INDEX", "REINDEX", "RUNPYTHON_REVERSIBLE")
"""Errors here, though the linter only warns of them: they lock a table for long, or cannot be reversed."""
EXCEPTED: dict[str, str] = {}
"""Migrations (by name) that break a rule and are harmless all the same, with the reason."""


def complaints(apps: Sequence[str] = OURS) -> str:
    """The linter's output about what is wrong; empty if nothing is."""
    linter = MigrationLinter(
        include_apps=apps,
        ignore_name=list(EXCEPTED),
        ignore_initial_migrations=True,
        no_cache=True,
        quiet=["ok", "ignore"],
        warnings_as_errors_tests=ERRORS,
        analyser_string="postgresql",
    )
    with contextlib.redirect_stdout(io.StringIO()) as said:
        linter.lint_all_migrations()
    return said.getvalue() if linter.has_errors else ""
