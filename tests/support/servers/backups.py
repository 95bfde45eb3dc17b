"""Backups of private PostgreSQL servers: a dump of one database, and a server's files with the WAL that followed."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.servers.folders import make_folder, server_user
from tests.support.servers.postgresql import SUPERUSER, PostgreSQL, create_database, programs


def dump(url: str, file: Path) -> None:
    """pg_dump in its own format."""
    _run("pg_dump", "--format=custom", f"--file={file}", url)


def restore(file: Path, url: str, name: str) -> str:
    """Into a new database of this name on the server of this URL; its own URL."""
    restored = create_database(url, name)
    _run("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={restored}", str(file))
    return restored


class Archive:
    """Where a server archives its WAL: `PostgreSQL(durable=True, settings=archive.settings)`."""

    def __init__(self) -> None:
        self.folder = make_folder("archive")

    @property
    def settings(self) -> Mapping[str, str]:
        return {"archive_mode": "on", "archive_command": f"cp %p {self.folder}/%f", "wal_level": "replica"}

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class PointInTime(PostgreSQL):
    """A new server made from the files of a running one. When it starts, it replays the archived WAL up to a moment."""

    def __init__(self, source: PostgreSQL, archive: Archive) -> None:
        self.source, self.archive = source, archive
        super().__init__(durable=True)

    def _initialise(self) -> None:
        source = f"host=127.0.0.1 port={self.source.port} user={SUPERUSER}"
        _run("pg_basebackup", "-d", source, "-D", str(self.data), "-X", "none", "-c", "fast", user=server_user())

    def recover_to(self, moment: str) -> None:
        """moment: a time with its offset."""
        settings = {
            "restore_command": f"cp {self.archive.folder}/%f %p",
            "recovery_target_time": moment,
            "recovery_target_action": "promote",
        }
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        (self.data / "recovery.signal").touch()


def _run(program: str, *arguments: str, user: str | None = None) -> None:
    command = [str(programs() / program), *arguments]
    done = subprocess.run(command, user=user, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
