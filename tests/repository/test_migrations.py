"""The linter of migrations refuses what the previous release does not survive, and takes what it does."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.migrations.lint import complaints

FIRST = """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Thing", [("id", models.AutoField(primary_key=True)), ("old", models.TextField())])
    ]
"""
SECOND = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("{app}", "0001_initial")]
    operations = [migrations.{operation}]
"""
BREAKING = {
    "required": ('AddField("thing", "new", models.TextField(default=""))', "NOT NULL constraint"),
    "dropped": ('RemoveField("thing", "old")', "DROPPING columns"),
    "renamed": ('RenameField("thing", "old", "new")', "RENAMING columns"),
    "retyped": ('AlterField("thing", "old", models.UUIDField())', "ALTERING columns"),
    "deleted": ('DeleteModel("Thing")', "DROPPING table"),
    "indexed": ('AddIndex("thing", models.Index(fields=["old"], name="thing_old"))', "CREATE INDEX locks table"),
}
HARMLESS = {
    "nullable": 'AddField("thing", "new", models.TextField(null=True))',
    "defaulted": 'AddField("thing", "new", models.TextField(default="", db_default=""))',
}

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="The linter reads PostgreSQL's statements."),
]


@pytest.fixture
def lint(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Complaints about an app with this second migration."""

    def linted(name: str, operation: str) -> str:
        app = f"app_{name}"
        folder = tmp_path / app / "migrations"
        folder.mkdir(parents=True)
        for package in (folder, folder.parent):
            (package / "__init__.py").touch()
        (folder / "0001_initial.py").write_text(FIRST)
        (folder / "0002_second.py").write_text(SECOND.format(app=app, operation=operation))
        monkeypatch.syspath_prepend(str(tmp_path))
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, app]
        return complaints([app])

    return linted


@pytest.mark.parametrize("name", BREAKING)
def test_a_migration_that_breaks_the_previous_release_is_refused(name: str, lint: Any) -> None:
    operation, complaint = BREAKING[name]
    assert complaint in lint(name, operation)


@pytest.mark.parametrize("name", HARMLESS)
def test_a_migration_that_only_adds_is_taken(name: str, lint: Any) -> None:
    assert lint(name, HARMLESS[name]) == ""


def test_our_migrations_are_taken() -> None:
    assert complaints() == ""
