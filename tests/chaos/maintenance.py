"""A maintenance task that fails while a file exists, in the way that the file names."""

import os
from collections.abc import Callable
from pathlib import Path

from django.db import connection

from jobs.cluster.maintenance import every

VARIABLE = "CHAOS_FOLDER"
FLAG = "maintenance-fails"
SECOND = 1 / 60


def _wrong_statement() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")
    return 0


def _full_disk() -> int:
    raise OSError("no space left on the device")


def _exit() -> int:
    raise SystemExit("this task ends its process")


WAYS_TO_FAIL: dict[str, Callable[[], int]] = {
    "database": _wrong_statement,
    "operating system": _full_disk,
    "exit": _exit,
}


@every(minutes=SECOND)
def chaos_task() -> int:
    try:
        how = Path(os.environ[VARIABLE], FLAG).read_text()
    except (KeyError, FileNotFoundError):
        return 0
    return WAYS_TO_FAIL[how]()
