"""From samples to figures: medians over the rounds, and the bars that Legwork has to clear."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import median

from benchmarks.measure import Sample
from benchmarks.roster import LEGWORK, Contender


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of a contender's rounds. Rates per second; latencies in ms; MiB; CPU seconds per 1,000 jobs.

    wal: bytes a job. noise: the share of the machine that others took while it drained.
    """

    contender: Contender
    rounds: int
    enqueue: float
    bulk: float | None
    drain: float
    drain_range: tuple[float, float]
    p50: float
    p99: float
    pss: float
    uss: float
    worker_cpu: float
    server_cpu: float
    wal: float
    noise: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A target for Legwork. got, met: None if it was not measured."""

    what: str
    wanted: str
    got: str | None
    met: bool | None


DRAIN_BARS = {"procrastinate": 8, "django-q2-orm": 8, "pgqueuer-100": 1, "awa": 1}
"""Required multiple of each of these peers' drain rates."""
_drain, _enqueue = attrgetter("drain"), attrgetter("enqueue")


def figures(contender: Contender, samples: Sequence[Sample]) -> Figures:
    latencies = [latency * 1000 for sample in samples for latency in sample.latencies]
    drains = [sample.drain for sample in samples]
    bulks = [sample.bulk for sample in samples if sample.bulk is not None]
    return Figures(
        contender=contender,
        rounds=len(samples),
        enqueue=median(sample.enqueue for sample in samples),
        bulk=median(bulks) if bulks else None,
        drain=median(drains),
        drain_range=(min(drains), max(drains)),
        p50=percentile(latencies, 50),
        p99=percentile(latencies, 99),
        pss=median(sample.memory.pss for sample in samples),
        uss=median(sample.memory.uss for sample in samples),
        worker_cpu=median(sample.worker_cpu for sample in samples),
        server_cpu=median(sample.server_cpu for sample in samples),
        wal=median(sample.wal for sample in samples),
        noise=median(sample.noise for sample in samples),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that so many percent of the values do not exceed (nearest rank); NaN of none."""
    if not values:
        return float("nan")
    ranked = sorted(values)
    rank = -(-len(ranked) * percent // 100)
    return ranked[max(int(rank), 1) - 1]


def bars(measured: Mapping[str, Figures]) -> list[Bar]:
    """measured: by the contenders' names."""
    ours = measured.get(LEGWORK)
    if ours is None:
        return []
    peers = [one for name, one in measured.items() if not name.startswith("legwork")]
    with_results = [one for one in peers if one.contender.stores_results]
    databases = [one for one in peers if one.contender.durable]
    stock, redis = ([measured[name]] if name in measured else [] for name in ("django-q2-orm", "legwork-redis"))
    return [
        _times("drain, against the fastest peer that stores results", 3, _drain, ours, with_results),
        *(
            _times(f"drain, against {measured[name].contender.title}", wanted, _drain, ours, [measured[name]])
            for name, wanted in DRAIN_BARS.items()
            if name in measured
        ),
        _times("enqueue one at a time, against the fastest peer on a database", 1, _enqueue, ours, databases),
        _times("enqueue one at a time, against django-q2, ORM broker", 1.5, _enqueue, ours, stock),
        *(_times("enqueue one at a time with Redis as broker", 0.95, _enqueue, one, [ours]) for one in redis),
        _bulk(ours),
        Bar("idle latency on PostgreSQL, p50", "≤ 5 ms", f"{ours.p50:.1f} ms", ours.p50 <= 5),
        Bar("idle latency on PostgreSQL, p99", "≤ 30 ms", f"{ours.p99:.1f} ms", ours.p99 <= 30),
    ]


def _times(what: str, wanted: float, rate: Callable[[Figures], float], ours: Figures, peers: Sequence[Figures]) -> Bar:
    if not peers:
        return Bar(what, f"≥ {wanted:g} times", None, None)
    best = max(peers, key=rate)
    ratio = rate(ours) / rate(best)
    return Bar(what, f"≥ {wanted:g} times", f"{ratio:.2f} times {best.contender.title}", ratio >= wanted)


def _bulk(ours: Figures) -> Bar:
    what, wanted = "enqueue in bulk", "≥ 20,000/s"
    if ours.bulk is None:
        return Bar(what, wanted, None, None)
    return Bar(what, wanted, f"{ours.bulk:,.0f}/s", ours.bulk >= 20_000)
