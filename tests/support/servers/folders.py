"""Where private servers keep their files, and as whom they run: never as root."""

import os
import pwd
import shutil
import tempfile
from pathlib import Path


def server_user() -> str | None:
    """The user as which root runs servers; None if we are not root: then they run as the current user."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def make_folder(kind: str) -> Path:
    """A new folder that belongs to the server's user. Its name holds our process id, so that the next run can tell
    what a killed one has left behind."""
    sweep(kind)
    folder = Path(tempfile.mkdtemp(prefix=f"legwork-{kind}-{os.getpid()}-"))
    if user := server_user():
        shutil.chown(folder, user)
    return folder


def sweep(kind: str) -> None:
    """Removes the folders of test runs that have ended."""
    for folder in Path(tempfile.gettempdir()).glob(f"legwork-{kind}-[0-9]*-*"):
        owner = folder.name.removeprefix(f"legwork-{kind}-").split("-")[0]
        if not _is_running(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    else:
        return True
