"""What a new stack needs in its database, made once and copied: to make it anew for some forty stacks takes minutes."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from urllib.parse import urlsplit

import psycopg2

_files: dict[str, tuple[bytes, str]] = {}
_databases: dict[str, tuple[str, str]] = {}
"""The moulds of this process and the token of each one's user, by settings, which may add apps with tables."""


def fill(url: str, settings: str, make: Callable[[], str]) -> str:
    """Migrate a database and make a user in it, as `make` does, or copy one in which that was done; the user's token.

    For new databases, in files and on the server of this test run; any other is left to `make`. `settings` names the
    settings module that `make` migrates by.
    """
    if url.startswith("sqlite:///") and not _path(url).exists():
        return _fill_file(_path(url), settings, make)
    if _server(url) == _server(os.environ.get("DATABASE_URL", "")) and _is_empty(url):
        return _fill_database(url, settings, make)
    return make()


def _fill_file(file: Path, settings: str, make: Callable[[], str]) -> str:
    if settings not in _files:
        token = make()
        with closing(connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _files[settings] = (file.read_bytes(), token)
    content, token = _files[settings]
    file.write_bytes(content)
    return token


def _fill_database(url: str, settings: str, make: Callable[[], str]) -> str:
    if settings not in _databases:
        mould = f"mould_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{len(_databases)}"
        _databases[settings] = (mould, make())
        _copy_database(url, _name(url), mould)
    else:
        _copy_database(url, _databases[settings][0], _name(url))
    return _databases[settings][1]


def _copy_database(url: str, name: str, copy: str) -> None:
    """On the server of this URL; what had the name of the copy is gone."""
    with closing(psycopg2.connect(urlsplit(url)._replace(path="/postgres").geturl())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{copy}" TEMPLATE "{name}"')


def _is_empty(url: str) -> bool:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_tables WHERE schemaname = 'public'")
        return cursor.fetchone() is None


def _path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _server(url: str) -> str:
    return urlsplit(url).netloc


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")
