"""`make cluster`: starts the whole topology, runs the demo on it, restarts and kills each part in turn under load.

Exits with 0 only if the demo passed, no GET failed, POSTs failed only while the primary was away (503), and each job
that was accepted has succeeded.
"""

import argparse
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
from tests.cluster.load import READERS, WRITERS, Load
from tests.cluster.topology import Part, Topology
from tests.support.stack import Client

USER = "ada"
AWAY_FOR, AFTERWARDS = 3.0, 2.0
"""Seconds: how long a killed part stays away under load, and how long the load goes on once it is back."""
DRAINED_WITHIN = 180.0
GET_OK, POST_OK = {"200"}, {"202"}

console = Console(width=110)


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
    """What was not as promised."""
    step("Each part is restarted (SIGTERM) or killed (SIGKILL) in turn, while clients read and post")
    table = Table("part", "GETs", "failed GETs", "POSTs", "answered 503", "other errors", "whole again after")
    problems, totals = [], []
    with Load(client.another) as load:
        eventually(lambda: load.accepted, 60, "the first job of the load")
        for title, parts in (("rolling restart", topology.restarted()), ("kills", topology.killed())):
            answers = failures = 0
            for part in parts:
                load.take_counts()
                back_after = _end_and_start(topology, part)
                reads, posts = load.take_counts()
                bad_reads, bad_posts = _failures(reads, GET_OK), _failures(posts, POST_OK)
                answers += reads.total() + posts.total()
                failures += bad_reads.total() + bad_posts.total()
                unavailable = bad_posts.pop("503", 0)
                if bad_reads:
                    problems.append(f"{part.name}: GETs failed ({_shown(bad_reads)}).")
                if bad_posts or (unavailable and part.writes):
                    shown = _shown(bad_posts + Counter({"503": unavailable}))
                    problems.append(f"{part.name}: POSTs failed ({shown}).")
                cells = (reads.total(), bad_reads.total(), posts.total(), unavailable, _shown(bad_posts) or 0)
                table.add_row(part.name, *map(str, cells), f"{back_after:.1f} s")
            totals.append(f"{title}: {failures} of {answers} requests of {READERS + WRITERS} clients failed")
    console.print(table)
    for total in totals:
        say(total)
    return problems + _unfinished(client, load)


def _end_and_start(topology: Topology, part: Part) -> float:
    """Seconds from its start until the topology is whole again."""
    part.end()
    time.sleep(AWAY_FOR)
    began = time.monotonic()
    part.start()
    eventually(topology.is_whole, DRAINED_WITHIN, f"{part.name}: the recovery", pause=0.1)
    took = time.monotonic() - began
    time.sleep(AFTERWARDS)
    return took


def _failures(counts: Counter[str], good: set[str]) -> Counter[str]:
    return Counter({status: count for status, count in counts.items() if status not in good})


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in sorted(counts.items()) if count)


def _unfinished(client: Client, load: Load) -> list[str]:
    """Each accepted job has to succeed, and there must be no other ones."""
    ended: dict[str, str] = {}

    def all_ended() -> bool:
        ended.update((url, client.get(url, expect=200).json()["status"]) for url in load.accepted - ended.keys())
        for url in [url for url, status in ended.items() if status not in ("succeeded", "failed", "cancelled")]:
            del ended[url]
        return len(ended) == len(load.accepted)

    try:
        eventually(all_ended, DRAINED_WITHIN, "the end of all jobs", pause=0.5)
    except TooLateError as error:
        return [str(error)]
    statuses = Counter(ended.values())
    say(f"{len(load.accepted)} jobs were accepted; {statuses['succeeded']} have succeeded")
    lost = statuses.total() - statuses["succeeded"]
    return [f"{lost} accepted jobs have not succeeded."] if lost else []


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
