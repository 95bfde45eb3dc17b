"""`python -m benchmarks.fairness`: what do fair claims cost the drain? Two workers, PostgreSQL.

The same jobs are drained with and without fair claims, in alternating rounds: the project's own, and those of one user,
who is at the ceiling all the time. The result is the median of the rounds' ratios of rates, and of CPU (of cluster and
server).
"""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median

from rich.console import Console

from benchmarks.pressure import Case, Cluster, Sample
from benchmarks.stores import running_stores
from demo.processes import stop_on_signals

OFF = {"BENCH_WITHOUT_FAIR_SHARE": "1"}
PAIRS = [
    (Case("own", "the project's jobs"), Case("own-without", "the project's jobs, without fair claims", env=OFF)),
    (
        Case("user", "a user's jobs", owner="eve"),
        Case("user-without", "a user's jobs, without fair claims", owner="eve", env=OFF),
    ),
]

console = Console(highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000, help="Jobs in each round (default %(default)s).")
    parser.add_argument("--rounds", type=int, default=6, help="Rounds, all cases in each (default %(default)s).")
    options = parser.parse_args(arguments)
    stop_on_signals()
    samples: dict[str, list[Sample]] = {}
    with running_stores(redis=False) as stores, ExitStack() as stack:
        clusters = [[Cluster(stores, case) for case in pair] for pair in PAIRS]
        for pair in clusters:
            for cluster in pair:
                stack.enter_context(cluster.running)
                cluster.start()
        for number in range(1, options.rounds + 1):
            for pair in clusters:
                # Alternating, because the second of two rounds may have an advantage.
                for cluster in pair if number % 2 else reversed(pair):
                    sample = cluster.drain(options.jobs)
                    samples.setdefault(cluster.case.name, []).append(sample)
                    told = f"{sample.rate:,.0f}/s, {sample.cpu:.0f} µs of CPU a job, others {sample.others:.0%}"
                    console.print(f"round {number}, {cluster.case.title}: {told}")
    for fair, unfair in PAIRS:
        pairs = list(zip(samples[fair.name], samples[unfair.name], strict=True))
        rate = median(ours.rate / plain.rate for ours, plain in pairs)
        cpu = median(ours.cpu / plain.cpu for ours, plain in pairs)
        console.print(f"{fair.title}: fair claims have {rate:.1%} of the rate, and {cpu:.1%} of the CPU a job")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
