"""What is promised of the samples: a sentence for each broken promise. Pure."""

from collections.abc import Iterator

from tests.soak.samples import Samples

GROWTH = 1.05
"""How many times its memory at a sixth of the time a process may have at the end."""
AROUND = 30.0
"""Samples count for a moment if they are at most so many seconds away from it."""
OLDEST_TRANSACTION = 5.0
"""Seconds. A handler's own take 0.2 s; the engine's less than a second, and a second in which to wait for a lock."""
OLDEST_SNAPSHOT = 5.0


def moments(seconds: float) -> tuple[float, float, float]:
    """The early and the late moment at which memory is compared (minutes 5 and 30), and the seconds around them."""
    around = min(AROUND, seconds / 12)
    return seconds / 6, seconds - around, around


def broken_promises(samples: Samples, seconds: float) -> list[str]:
    return [*_of_memory(samples, seconds), *_of_backends(samples)]


def _of_memory(samples: Samples, seconds: float) -> Iterator[str]:
    early, late, around = moments(seconds)
    for role, pid in samples.processes:
        first = samples.memory_at((role, pid), early, around)
        last = samples.memory_at((role, pid), late, around)
        if first is None or last is None:
            yield f"The {role} {pid} was not there all the time."
        elif last.anonymous > GROWTH * first.anonymous:
            yield f"The memory of the {role} {pid} grew from {first.anonymous:.1f} to {last.anonymous:.1f} MiB."


def _of_backends(samples: Samples) -> Iterator[str]:
    for what, (age, query), allowed in [
        ("transaction", samples.oldest_transaction, OLDEST_TRANSACTION),
        ("snapshot", samples.oldest_snapshot, OLDEST_SNAPSHOT),
    ]:
        if age > allowed:
            yield f"A {what} was {age:.1f} s old: {query}."
