"""What a check finds."""

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    NOTE = 1  # worth knowing; nothing has to be done
    WARNING = 2  # it will become an error, or slows things down
    ERROR = 3  # work does not get done


@dataclass(frozen=True)
class Problem:
    """what: a sentence that says what is wrong. remedy: what to do. runbook: section in docs/operations/runbooks.md."""

    level: Level
    what: str
    remedy: str
    runbook: str

    @property
    def name(self) -> str:
        return self.level.name.lower()
