"""`make cluster`: starts the whole topology, runs the demo on it, restarts and kills each part in turn under load.

Exits with 0 only if the demo passed, no GET failed, POSTs failed only while the primary was away (503), requests got no
answer only while HAProxy was away, which was short, each accepted job has succeeded, and each accepted mail was sent.
"""

import argparse
import contextlib
import secrets
import sys
import time
from collections import Counter
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from demo import tour
from demo.client import UnexpectedAnswerError
from demo.eventually import TooLateError, eventually
from demo.processes import DiedError, stop_on_signals
from demo.screen import fail, say, step
from demo.stack import ROOT
from tests.cluster.load import READERS, WRITERS, Counts, Load
from tests.cluster.topology import Part, Topology
from tests.support.stack import Client

USER = "ada"
AFTERWARDS = 2.0
"""Seconds for which the load goes on once a part is back."""
NO_ANSWER_FOR = 5.0
"""Seconds that requests may stay without an answer while HAProxy is away."""
DRAINED_WITHIN = 180.0
GET_OK, POST_OK = {"200"}, {"202"}
NO_ANSWER = "ConnectionError"
NOUNS = {"/jobs/": "jobs", "/messages/": "mails"}
WELL = {"succeeded", "sent", "delivered"}
"""The good ends of jobs and mails. `sent` is one: a killed simulator never delivers what it had accepted."""

console = Console(width=116)


def main() -> int:
    asked = _options()
    asked.folder.mkdir(parents=True, exist_ok=True)
    stop_on_signals()
    try:
        step(
            "Starting HAProxy, two web processes and clusters, PostgreSQL with two replicas, Redis, a simulated Mailgun"
        )
        password = secrets.token_urlsafe(12)
        with Topology(asked.folder) as topology:
            topology.add_user(USER, password, staff=True)
            say(f"ready at {topology.url}; logs in {asked.folder}")
            tour.show(topology.url, USER, password, asked.seconds)
            problems = _end_each(topology, Client.login(topology.url, USER, password))
            if asked.keep:
                _stay(topology, password)
    except (DiedError, TooLateError, UnexpectedAnswerError, requests.RequestException) as error:
        fail(str(error).partition("\n")[0])
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 130
    for problem in problems:
        fail(problem)
    return 1 if problems else 0


def _end_each(topology: Topology, client: Client) -> list[str]:
    """End and start each part; returns the broken promises."""
    step("Each part is restarted (SIGTERM) or killed (SIGKILL) in turn, while clients read and post")
    table = Table("part", "GETs", "failed", "POSTs", "503", "no answer", "other errors", "whole again after")
    problems, totals = [], []
    with Load(client.another) as load:
        eventually(lambda: load.accepted, 60, "the first job of the load")
        for title, parts in (("rolling restart", topology.restarted), ("kills", topology.killed)):
            answers = failures = 0
            for part in parts():
                load.take_counts()
                back_after = _end_and_start(topology, part)
                counts = load.take_counts()
                answers += counts.reads.total() + counts.posts.total()
                failures += _failures(counts.reads, GET_OK).total() + _failures(counts.posts, POST_OK).total()
                problems += _broken_promises(part, counts)
                table.add_row(part.name, *_cells(counts), f"{back_after:.1f} s")
            totals.append(f"{title}: {failures} of {answers} requests of {READERS + WRITERS} clients failed")
    console.print(table)
    for total in totals:
        say(total)
    say("Only HAProxy is alone here, and is started again at once, as by systemd (Restart=always). In production")
    say("a second one, or a cloud's balancer, answers meanwhile: docs/operations/failures.md")
    return problems + _unfinished(client, load)


def _end_and_start(topology: Topology, part: Part) -> float:
    """End a part and start it again; returns the seconds from its start until the topology is whole."""
    part.end()
    time.sleep(part.away_for)
    began = time.monotonic()
    part.start()
    eventually(topology.is_whole, DRAINED_WITHIN, f"{part.name}: the recovery", pause=0.1)
    took = time.monotonic() - began
    time.sleep(AFTERWARDS)
    return took


def _broken_promises(part: Part, counts: Counts) -> list[str]:
    reads, posts = _failures(counts.reads, GET_OK), _failures(counts.posts, POST_OK)
    if not part.writes:
        del posts["503"]
    if not part.answers:
        del reads[NO_ANSWER], posts[NO_ANSWER]
    problems = [
        f"{part.name}: {what} failed ({_shown(bad)})." for what, bad in (("GETs", reads), ("POSTs", posts)) if bad
    ]
    if counts.no_answer_for > NO_ANSWER_FOR:
        problems.append(f"{part.name}: there was no answer for {counts.no_answer_for:.1f} s.")
    return problems


def _cells(counts: Counts) -> list[str]:
    reads, posts = _failures(counts.reads, GET_OK), _failures(counts.posts, POST_OK)
    unavailable = posts.pop("503", 0)
    no_answer = f"{len(counts.no_answer_at)} in {counts.no_answer_for:.1f} s" if counts.no_answer_at else "0"
    others = reads + posts
    del others[NO_ANSWER]
    figures = (counts.reads.total(), reads.total(), counts.posts.total(), unavailable)
    return [*map(str, figures), no_answer, _shown(others) or "0"]


def _failures(counts: Counter[str], good: set[str]) -> Counter[str]:
    return Counter({status: count for status, count in counts.items() if status not in good})


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in sorted(counts.items()))


def _unfinished(client: Client, load: Load) -> list[str]:
    """Wait for accepted jobs and mails; returns a sentence if some have not ended well."""
    status: dict[str, str] = {}

    def all_well() -> bool:
        for url in load.accepted:
            if status.get(url) not in WELL:
                status[url] = client.get(url, expect=200).json()["status"]
        return WELL.issuperset(status.values())

    with contextlib.suppress(TooLateError):
        eventually(all_well, DRAINED_WITHIN, pause=0.5)
    for path, noun in NOUNS.items():
        ended = Counter(each for url, each in status.items() if path in url)
        say(f"{ended.total()} {noun} were accepted: {_shown(ended)}")
    lost = Counter(each for each in status.values() if each not in WELL)
    return [f"Some that were accepted have not ended well ({_shown(lost)})."] if lost else []


def _stay(topology: Topology, password: str) -> None:
    step("It stays up until Ctrl-C.")
    say(f"{topology.url}/ and {topology.url}/admin/: user {USER}, password {password}")
    while True:
        time.sleep(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="duration of the demo's job")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "cluster", help="folder of the logs")
    parser.add_argument("--keep", action="store_true", help="stay up afterwards")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
