"""`python -m benchmarks.mail`: e-mails a second through a Mailgun that takes 100 ms for each, by Legwork and its peers.

In each round and for each contender: all mails are submitted while no worker runs; then its workers are started, and
Mailgun's simulator (webhooks switched off) is asked how many mails it has accepted. The rate is that of the last nine
tenths, so that start-up is not counted. Each has two worker processes, unless its name says otherwise.
"""

import argparse
import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from rich.console import Console

from benchmarks import machine
from benchmarks.chart import Mark, bars
from benchmarks.page import Page
from benchmarks.roster import LEGWORK, QUIET, WORKERS, Contender, words
from benchmarks.runner import Running
from benchmarks.stores import Stores, running_stores
from benchmarks.tree import Tree, machine_cpu_seconds
from benchmarks.venvs import ROOT, python_of, versions
from demo.eventually import TooLateError
from demo.processes import stop_on_signals
from tests.support.servers.simulator import Simulator

RESULTS = ROOT / "benchmarks" / "results"
LATENCY = 0.1
PATIENCE = 600.0
LOOK_EVERY = 0.02
WANTED, WANTED_TIMES = 150, 1.2

_LEGWORK_ENV = {"DJANGO_SETTINGS_MODULE": "benchmarks.settings", "WORKERS": str(WORKERS), "LOG_LEVEL": QUIET}
_PEER = {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.anymail_settings"}
_CELERY = (
    f"-m celery -A benchmarks.peers.celery_anymail worker --loglevel {QUIET}"
    " --without-gossip --without-mingle --without-heartbeat -n {name}@%h"
)
_POST_OFFICE = {**_PEER, "BENCH_APPS": "post_office", "BENCH_BACKEND": "post_office.EmailBackend"}
_SEND_QUEUED = words(f"-m django send_queued_mail --processes {WORKERS}")

CONTENDERS = [
    Contender(
        LEGWORK,
        "Legwork on PostgreSQL",
        "legwork",
        words("manage.py qcluster"),
        store="PostgreSQL",
        kept="asked for, then sent once",
        env=_LEGWORK_ENV,
    ),
    Contender(
        "celery-prefork",
        "Celery + Anymail, prefork 2",
        "celery_anymail",
        words(f"{_CELERY.format(name='prefork')} --pool prefork --concurrency {WORKERS}"),
        store="Redis",
        kept="lost",
        env=_PEER,
    ),
    Contender(
        "celery-threads",
        "Celery + Anymail, threads 32",
        "celery_anymail",
        words(f"{_CELERY.format(name='threads')} --pool threads --concurrency 32"),
        store="Redis",
        kept="lost",
        env=_PEER,
    ),
    Contender(
        "celery-two-threads",
        "Celery + Anymail, twice threads 32",
        "celery_anymail",
        words(f"{_CELERY.format(name='node')} --pool threads --concurrency 32"),
        store="Redis",
        kept="lost",
        processes=WORKERS,
        env=_PEER,
    ),
    Contender(
        "post-office",
        "django-post-office, 5 threads",
        "post_office",
        _SEND_QUEUED,
        store="PostgreSQL",
        kept="sent again",
        env=_POST_OFFICE,
    ),
    Contender(
        "post-office-threads",
        "django-post-office, 32 threads",
        "post_office",
        _SEND_QUEUED,
        store="PostgreSQL",
        kept="sent again",
        env={**_POST_OFFICE, "BENCH_THREADS": "32", "BENCH_BATCH": "1000"},
    ),
]

TUNED = frozenset({"celery-two-threads", "post-office-threads"})
"""Contenders with as many threads as Legwork, not set up as their documentation shows."""

HEADINGS = ["by", "mails/s", "worst to best", "of Legwork's", "CPU of workers, ms a mail", "a killed worker's mails"]

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Sample:
    """Mails a second; CPU milliseconds of the workers for each; the share of the machine that others took."""

    rate: float
    cpu: float
    noise: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    chosen = [contender for contender in CONTENDERS if contender.name in options.peers]
    for contender in chosen:
        with console.status(f"The environment of {contender.title} …"):
            python_of(contender.module)
    facts = machine.facts() | {"begun": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    facts["size"] = f"{options.mails:,} mails, {options.rounds} rounds, {LATENCY * 1000:g} ms a call"
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in chosen}
    with running_stores() as stores:
        facts |= stores.versions()
        for number in range(options.rounds):
            shift = number * len(chosen) // options.rounds
            for contender in [*chosen[shift:], *chosen[:shift]]:
                sample = _measure(contender, stores, options.mails)
                samples[contender.name].append(sample)
                console.print(f"round {number + 1}: {contender.title}: {sample.rate:,.0f} mails/s")
    _write(options.results, chosen, samples, facts)
    console.print(_verdict(samples))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mail", description=__doc__)
    names = [contender.name for contender in CONTENDERS]
    parser.add_argument("--mails", type=int, default=5_000, help="Mails in each round (default %(default)s).")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds, all contenders in each (default %(default)s).")
    parser.add_argument("--peers", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


def _measure(contender: Contender, stores: Stores, mails: int) -> Sample:
    """One round of one contender, with a Mailgun and a database of its own."""
    stores.empty_redis()
    stores.create_database(contender.name)
    with Simulator(latency=LATENCY) as mailgun:
        os.environ.update(mailgun.env)  # what its client and its workers inherit
        with Running(contender, stores) as running:
            running.client.ask("prepare")
            running.client.ask("call", "submit_mails", mails)
            stores.calm_down()
            running.start_workers()
            return _timed(running, stores, mailgun, mails)


def _timed(running: Running, stores: Stores, mailgun: Simulator, mails: int) -> Sample:
    first = _wait(mailgun, mails // 10)
    trees = running.workers, stores.tree(), Tree(mailgun.process.pid), Tree(os.getpid())
    before, machine_before = [tree.cpu_seconds() for tree in trees], machine_cpu_seconds()
    began = time.monotonic()
    last = _wait(mailgun, mails)
    seconds = time.monotonic() - began
    used = [tree.cpu_seconds() - at for tree, at in zip(trees, before, strict=True)]
    others = max(machine_cpu_seconds() - machine_before - sum(used), 0.0)
    # On a busy machine few mails may all be sent before the first tenth is noticed: the rate is then much too low.
    sent = max(last - first, 1)
    return Sample(sent / seconds, 1000 * used[0] / sent, others / seconds / (os.cpu_count() or 1))


def _wait(mailgun: Simulator, goal: int) -> int:
    """Wait until the simulator has accepted so many mails; returns how many it has accepted then."""
    deadline = time.monotonic() + PATIENCE
    while (accepted := int(mailgun.get("")["accepted"])) < goal:
        if time.monotonic() > deadline:
            raise TooLateError(f"{accepted} of {goal} mails were accepted after {PATIENCE:g} s.")
        time.sleep(LOOK_EVERY)
    return accepted


def _write(
    folder: Path, chosen: Sequence[Contender], samples: Mapping[str, Sequence[Sample]], facts: Mapping[str, str]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    marks = [
        Mark(one.title, _rate(samples, one.name), f"{_rate(samples, one.name):,.0f}/s", ours=one.name == LEGWORK)
        for one in chosen
    ]
    (folder / "mail.svg").write_text(bars("E-mails a second, two worker processes, 100 ms a call", marks))
    raw = {name: [asdict(sample) for sample in rounds] for name, rounds in samples.items()}
    (folder / "mail.json").write_text(json.dumps({"run": dict(facts), "samples": raw}, indent=1) + "\n")
    page = Page("E-mails beside each other", "`python -m benchmarks.mail` wrote this page; `make bench` runs it too.")
    page.facts(facts)
    page.text("![E-mails sent per second](mail.svg)")
    page.table(HEADINGS, [_row(one, samples) for one in chosen])
    page.text(_verdict(samples))
    page.text((__doc__ or "").partition("\n")[2].strip())
    for one in chosen:
        page.text(f"**{one.title}** ({_versions(one)}). {one.settings}\nWorkers: `{one.shown_command}`")
    (folder / "mail.md").write_text(page.markdown())


def _row(one: Contender, samples: Mapping[str, Sequence[Sample]]) -> list[str]:
    rates = [sample.rate for sample in samples[one.name]]
    ours = _rate(samples, LEGWORK)
    return [
        one.title,
        f"{median(rates):,.0f}",
        f"{min(rates):,.0f} to {max(rates):,.0f}",
        f"{median(rates) / ours:.2f}" if ours else "-",
        f"{median(sample.cpu for sample in samples[one.name]):.1f}",
        one.kept,
    ]


def _verdict(samples: Mapping[str, Sequence[Sample]]) -> str:
    ours = _rate(samples, LEGWORK)
    fast = f"at least {WANTED} mails/s: {'met' if ours >= WANTED else 'NOT MET'} ({ours:,.0f})"
    times = _times(samples, {LEGWORK, *TUNED})
    met = "met" if times and times >= WANTED_TIMES else "NOT MET"
    tuned = _times(samples, samples.keys() - TUNED)
    return (
        f"Bars: {fast}; {WANTED_TIMES:g} times the best peer as it is documented: {met} ({_shown(times)}).\n"
        f"Beside peers that were given as many threads as Legwork has: {_shown(tuned)} times the best of them."
    )


def _times(samples: Mapping[str, Sequence[Sample]], without: Collection[str]) -> float | None:
    """Our rate as a multiple of the best of the others; None if none of them was measured."""
    best = max((_rate(samples, name) for name in samples if name not in without), default=0.0)
    return _rate(samples, LEGWORK) / best if best else None


def _shown(times: float | None) -> str:
    return "not measured" if times is None else f"{times:.2f}"


def _rate(samples: Mapping[str, Sequence[Sample]], name: str) -> float:
    return median(sample.rate for sample in samples[name]) if samples.get(name) else 0.0


def _versions(one: Contender) -> str:
    pins = versions(one.module)
    shown = ["django", "django-anymail", "celery", "django-post-office", "requests", "urllib3"]
    return ", ".join(f"{name} {pins[name]}" for name in shown if name in pins)


if __name__ == "__main__":
    raise SystemExit(main())
