"""The previous release works on this release's schema, as it must during a rolling deployment and after going back.

The previous release is the newest tag before this commit, or, where there is none, the code that the newest migration
met when it was written. PREVIOUS=COMMIT in the environment names another one.
"""

import os
import subprocess
from pathlib import Path

import pytest

from demo.eventually import eventually
from demo.processes import Process
from demo.stack import ROOT
from tests.conftest import make_database
from tests.support.stack import Stack
from tests.support.timeouts import PATIENCE

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("upgrade")]

NEWEST_TAG = ["describe", "--tags", "--match", "v*", "--abbrev=0", "HEAD^"]
NEWEST_MIGRATION = ["log", "-1", "--format=%H", "--diff-filter=A", "--", "*/migrations/*.py"]


class PreviousRelease(Stack):
    """Its own code in every process, on a database that this release's code has migrated."""

    def __init__(self, code: Path, database_url: str, folder: Path) -> None:
        self.code = code
        super().__init__(database_url, folder, mail=True)

    def _process(self, name: str, *command: str) -> Process:
        theirs = [part.replace(str(ROOT / "manage.py"), str(self.code / "manage.py")) for part in command]
        return Process(name, theirs, log=self.logs / f"{name}.log", env=self.env, cwd=self.code)


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False)


def previous_release() -> str:
    """The commit's name. A shallow clone may have no commit but this one, which then runs on its own schema."""
    tag, migration = (git(*command).stdout.decode().strip() for command in (NEWEST_TAG, NEWEST_MIGRATION))
    before = f"{migration}^"
    known = git("cat-file", "-e", before).returncode == 0
    return os.environ.get("PREVIOUS") or tag or (before if known else "HEAD")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The previous release's files."""
    archive = git("archive", previous_release())
    assert archive.returncode == 0, archive.stderr
    folder = tmp_path / "previous"
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def test_the_previous_release_works_on_this_release_s_schema(code: Path, tmp_path: Path) -> None:
    with PreviousRelease(code, make_database("upgrade"), tmp_path) as stack:
        client = stack.client()
        job = client.post("jobs/", {"kind": "demo.countdown", "params": {"seconds": 0}}, expect=202).json()
        mail = {"to": "ada@example.org", "subject": "Hi", "text": "There"}
        message = client.post("mail/messages/", mail, expect=202).json()
        client.wait_for(job["id"], "succeeded")

        def status() -> str:
            return str(client.get(f"mail/messages/{message['id']}/", expect=200).json()["status"])

        eventually(lambda: status() == "delivered", PATIENCE, "the delivery of a mail", pause=0.1)
        client.get("jobs/", expect=200)
