"""`python -m benchmarks.io_beside_long`: do mail and HTTP calls wait behind jobs of an hour?

One cluster with two worker processes and one I/O worker process. First 20 jobs of an hour are enqueued: both worker
processes are busy, and 18 jobs wait. Then 50 critical mails are posted to the API, one after the other, and after them
50 `http.request` jobs. Each is measured from before its POST to its arrival at Mailgun's simulator or a local server.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests
from rich.console import Console

from benchmarks import machine
from benchmarks.page import Page
from benchmarks.roster import WORKERS
from benchmarks.stores import Stores, running_stores
from benchmarks.summary import percentile
from benchmarks.venvs import ROOT
from demo.client import Client
from demo.eventually import eventually
from demo.processes import stop_on_signals
from demo.stack import Stack

RESULTS = ROOT / "benchmarks" / "results"
IO_WORKERS = 1
HOUR = 3600
ALLOWED = 1.0
"""Seconds from a POST to the arrival, at the 95th percentile."""
ARRIVES_WITHIN = 120.0
LOOK_EVERY = 0.05
WARM_UP = 3
MAILS, REQUESTS = "critical mail, until it is at Mailgun", "`http.request`, until it is at the server"
HEADINGS = ["", "median", "p95", "longest"]
USER = "bench"

Arrivals = Callable[[], Mapping[str, float]]
"""Returns when each mark has arrived, in seconds since 1970."""
Post = Callable[[str], object]
"""Posts something with a mark."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    console = Console(highlight=False)
    facts = machine.facts()
    with running_stores(redis=False) as stores:
        facts |= stores.versions()
        with console.status("starting …"), _server() as (server, arrived), _stack(stores, server) as (stack, client):
            _occupy_workers(client, options.long)
            found = {
                MAILS: _waits(_mail(client), lambda: _at_mailgun(stack), options.each),
                REQUESTS: _waits(_request(client, server), lambda: arrived, options.each),
            }
            still = len(client.get("jobs/?kind=demo.countdown&status=running", expect=200).json()["results"])
    facts["size"] = f"{options.long} jobs of an hour ({still} of them running to the end), {options.each} of each"
    facts["processes"] = f"{WORKERS} workers, {IO_WORKERS} I/O worker, 1 web process"
    for name, waits in found.items():
        console.print(f"{name}: {', '.join(_row(waits))} (median, p95, longest)")
    console.print(_verdict(found))
    _write(options.results, found, facts)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.io_beside_long", description=__doc__)
    parser.add_argument("--long", type=int, default=20, help="Jobs of an hour (default %(default)s).")
    parser.add_argument("--each", type=int, default=50, help="Mails, and requests (default %(default)s).")
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


@contextmanager
def _stack(stores: Stores, server: str) -> Iterator[tuple[Stack, Client]]:
    env = {
        "WORKERS": str(WORKERS),
        "IO_WORKERS": str(IO_WORKERS),
        "LOG_LEVEL": "WARNING",
        "HTTP_REQUEST_ALLOWED_HOSTS": server.removeprefix("http://"),
    }
    with tempfile.TemporaryDirectory(prefix="legwork-bench-") as logs:
        stack = Stack(stores.create_database("io_beside_long"), Path(logs), mail=True, env=env)
        stack.migrate()
        stack.add_user(USER, USER)
        with stack:
            yield stack, Client.login(stack.url, USER, USER)


@contextmanager
def _server() -> Iterator[tuple[str, dict[str, float]]]:
    """Runs a web server that notes when each path is first requested; yields its URL and the notes."""
    arrived: dict[str, float] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            arrived.setdefault(self.path.strip("/"), time.time())
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", arrived
        server.shutdown()


def _occupy_workers(client: Client, jobs: int) -> None:
    for _ in range(jobs):
        body = {"kind": "demo.countdown", "params": {"seconds": HOUR}, "timeout": 2 * HOUR}
        client.post("jobs/", body, expect=202)
    running = "jobs/?kind=demo.countdown&status=running"
    eventually(
        lambda: len(client.get(running, expect=200).json()["results"]) == min(jobs, WORKERS),
        ARRIVES_WITHIN,
        "the start of the long jobs",
        pause=LOOK_EVERY,
    )


def _mail(client: Client) -> Post:
    def post(mark: str) -> None:
        body = {"to": f"{mark}@example.org", "subject": mark, "text": mark, "importance": "critical"}
        client.post("mail/messages/", body, expect=202)

    return post


def _request(client: Client, server: str) -> Post:
    def post(mark: str) -> None:
        body = {"kind": "http.request", "params": {"url": f"{server}/{mark}", "expect": [204]}}
        client.post("jobs/", body, expect=202)

    return post


def _at_mailgun(stack: Stack) -> dict[str, float]:
    messages = requests.get(f"{stack.mailgun_url}/simulator/messages", timeout=60).json()
    return {message["subject"]: message["at"] for message in messages}


def _waits(post: Post, arrivals: Arrivals, count: int) -> list[float]:
    """Seconds that each took, posted one after the other. The first few do not count: they open connections."""
    waits = []
    for number in range(WARM_UP + count):
        mark = f"mark-{number}"
        began = time.time()
        post(mark)
        arrived_at = eventually(
            partial(_arrival, arrivals, mark), ARRIVES_WITHIN, f"arrival of {mark}", pause=LOOK_EVERY
        )
        waits.append(arrived_at - began)
    return waits[WARM_UP:]


def _arrival(arrivals: Arrivals, mark: str) -> float:
    """When the mark has arrived; 0 if it has not."""
    return arrivals().get(mark, 0.0)


def _row(waits: Sequence[float]) -> list[str]:
    return [f"{1000 * seconds:.0f} ms" for seconds in (percentile(waits, 50), percentile(waits, 95), max(waits))]


def _write(folder: Path, found: Mapping[str, list[float]], facts: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("Mail and HTTP calls beside jobs of an hour", "`python -m benchmarks.io_beside_long` wrote this page.")
    page.facts(facts)
    page.table(HEADINGS, [[name, *_row(waits)] for name, waits in found.items()])
    page.text(_verdict(found))
    page.text((__doc__ or "").partition("\n")[2].strip())
    (folder / "io_beside_long.md").write_text(page.markdown())


def _verdict(found: Mapping[str, list[float]]) -> str:
    worst = max(percentile(waits, 95) for waits in found.values())
    met = "met" if worst < ALLOWED else "NOT MET"
    return f"Bar, arrival within {ALLOWED:g} s of the POST (p95): {met} ({worst:.2f} s)."


if __name__ == "__main__":
    raise SystemExit(main())
