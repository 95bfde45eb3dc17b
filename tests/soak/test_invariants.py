"""What a soak (tests/soak) judges of its samples."""

from tests.soak.invariants import broken_promises
from tests.soak.samples import Memory, Samples

HALF_AN_HOUR = 1800
WORKER = ("worker", 1)


def make_samples(early: float, late: float, until: int = HALF_AN_HOUR) -> Samples:
    """A worker that has so many MiB in its first ten minutes, and after them."""
    taken = [Memory(at, 100, early if at < 600 else late) for at in range(0, until, 5)]
    return Samples(processes={WORKER: taken})


def test_a_soak_tolerates_growth_of_five_percent_and_no_more() -> None:
    assert broken_promises(make_samples(20, 21), HALF_AN_HOUR) == []
    [broken] = broken_promises(make_samples(20, 21.1), HALF_AN_HOUR)
    assert broken == "The memory of the worker 1 grew from 20.0 to 21.1 MiB."


def test_a_soak_reports_a_process_that_has_ended() -> None:
    assert broken_promises(make_samples(20, 20, until=900), HALF_AN_HOUR) == [
        "The worker 1 was not there all the time."
    ]


def test_a_soak_names_a_transaction_and_a_snapshot_that_are_too_old() -> None:
    samples = make_samples(20, 20)
    samples.oldest_transaction, samples.oldest_snapshot = (5.1, "idle in transaction: COMMIT"), (5.2, "active: SELECT")

    assert broken_promises(samples, HALF_AN_HOUR) == [
        "A transaction was 5.1 s old: idle in transaction: COMMIT.",
        "A snapshot was 5.2 s old: active: SELECT.",
    ]
