"""What a new stack needs in its database, made once in a test run and copied: to make it anew for each stack takes
minutes."""

import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from urllib.parse import urlsplit
from zlib import crc32

import psycopg2

folder: Path | None = None
"""What all workers of a test run share. Programs that tests start have none: their servers are others."""


def fill(url: str, settings: str, make: Callable[[], str]) -> str:
    """Migrate a database and make a user in it, as `make` does, or copy one in which that was done; the user's token.

    For new databases, in files and on the server of this test run; any other is left to `make`. `settings` names the
    settings module that `make` migrates by, which may add apps with tables.
    """
    on_sqlite = url.startswith("sqlite:///")
    if folder is None or not (_is_new_file(url) if on_sqlite else _is_new_database(url)):
        return make()
    note = folder / f"{'sqlite' if on_sqlite else 'postgresql'} {settings}"
    with note.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the first process makes it, and the others wait
        file.seek(0)
        token = file.read()
        is_made = bool(token)
        token = token or make()
        _copy_file(url, note, is_made) if on_sqlite else _copy_database(url, note, is_made)
        if not is_made:
            file.write(token)
    return token


def _copy_file(url: str, note: Path, is_made: bool) -> None:
    file, template = _path(url), note.with_name(f"{note.name}.sqlite3")
    if is_made:
        shutil.copyfile(template, file)
        return
    with closing(connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copyfile(file, template)


def _copy_database(url: str, note: Path, is_made: bool) -> None:
    name, template = urlsplit(url).path.removeprefix("/"), f"{note.parent.name}-{crc32(note.name.encode())}"
    source, target = (template, name) if is_made else (name, template)
    with closing(psycopg2.connect(urlsplit(url)._replace(path="/postgres").geturl())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{target}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{target}" TEMPLATE "{source}"')


def _is_new_file(url: str) -> bool:
    return not _path(url).exists()


def _is_new_database(url: str) -> bool:
    if urlsplit(url).netloc != urlsplit(os.environ["DATABASE_URL"]).netloc:
        return False
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_tables WHERE schemaname = 'public'")
        return cursor.fetchone() is None


def _path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))
