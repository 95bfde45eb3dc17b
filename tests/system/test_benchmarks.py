"""The benchmarks still run: Legwork alone, with sizes that say nothing about its speed."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import interference, report, snapshot, venvs
from benchmarks.asker import Question, ask
from benchmarks.chart import Mark, bars, columns
from benchmarks.client import pauses
from benchmarks.mail import CONTENDERS as MAILERS
from benchmarks.measure import Sample
from benchmarks.roster import CONTENDERS, LEGWORK
from benchmarks.runner import installed
from benchmarks.summary import bars as cleared
from benchmarks.summary import figures, percentile
from benchmarks.tree import Memory, Tree
from benchmarks.venvs import OURS, REQUIREMENTS, ROOT, versions
from demo.eventually import eventually
from demo.processes import Process
from tests.support.timeouts import PATIENCE

SLOW = 0.2
SPAWNING = """
import subprocess, sys
sum(range(10**6))
subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE).wait()
"""


def test_the_queue_benchmark_writes_its_results(tmp_path: Path) -> None:
    run("benchmarks", "--peers", LEGWORK, "--jobs", "20", "--rounds", "1", "--probes", "2", results=tmp_path)
    [sample] = json.loads((tmp_path / "queue.json").read_text())["samples"][LEGWORK]
    assert min(sample["drain"], sample["enqueue"], *sample["latencies"], sample["memory"]["pss"]) > 0
    page = (tmp_path / "queue.md").read_text()
    assert "Legwork on PostgreSQL" in page
    assert str(ROOT) not in page
    assert ElementTree.parse(tmp_path / "queue.svg").getroot().tag.endswith("svg")  # noqa: S314 our own file


def test_the_benchmark_of_enqueueing_writes_its_results(tmp_path: Path) -> None:
    run("benchmarks.enqueue", "--beside", "--jobs", "20", "--turns", "2", results=tmp_path)
    page = (tmp_path / "enqueue.md").read_text()
    assert "| bare prepared INSERT |" in page
    assert "of a bare INSERT" in page


def test_the_snapshot_benchmark_writes_its_results(tmp_path: Path) -> None:
    run("benchmarks.snapshot", "--peers", LEGWORK, "--jobs", "20", "--rounds", "2", results=tmp_path)
    assert "| Legwork on PostgreSQL |" in (tmp_path / "snapshot.md").read_text()
    assert (tmp_path / "snapshot.svg").exists()


def test_the_interference_benchmark_writes_its_results(tmp_path: Path) -> None:
    sizes = ["--brokers", "postgresql", "--jobs", "20000", "--seconds", "0.5", "--gets", "10", "--posts", "10"]
    run("benchmarks.interference", *sizes, results=tmp_path)
    page = (tmp_path / "interference.md").read_text()
    assert "| PostgreSQL | " in page
    assert str(ROOT) not in page


def test_the_benchmark_of_the_monitors_cost_writes_its_results(tmp_path: Path) -> None:
    run("benchmarks.monitored", "--jobs", "20", "--rounds", "1", results=tmp_path)
    assert "| 1 | " in (tmp_path / "monitored.md").read_text()


def test_the_growth_benchmark_writes_its_results(tmp_path: Path) -> None:
    sizes = ["--finished", "30", "--queued", "40", "--measured", "20", "--rounds", "1"]
    run("benchmarks.growth", *sizes, results=tmp_path)
    assert "| 30 |" in (tmp_path / "growth.md").read_text()
    assert (tmp_path / "growth.svg").exists()


def test_the_long_beside_short_benchmark_writes_its_results(tmp_path: Path) -> None:
    run("benchmarks.long_beside_short", "--short", "9", "--long", "60", results=tmp_path)
    assert "Bar, " in (tmp_path / "long_beside_short.md").read_text()


def test_the_mail_benchmark_writes_its_results(tmp_path: Path) -> None:
    run("benchmarks.mail", "--peers", LEGWORK, "--mails", "40", "--rounds", "1", results=tmp_path)
    [sample] = json.loads((tmp_path / "mail.json").read_text())["samples"][LEGWORK]
    assert sample["rate"] > 0
    page = (tmp_path / "mail.md").read_text()
    assert "Legwork on PostgreSQL" in page
    assert str(ROOT) not in page
    assert (tmp_path / "mail.svg").exists()


def test_the_streams_benchmark_writes_its_results(tmp_path: Path) -> None:
    run("benchmarks.streams", "--streams", "20", "--seconds", "1", results=tmp_path)
    page = (tmp_path / "streams.md").read_text()
    assert "| 20 of 20 |" in page
    assert str(ROOT) not in page


def test_the_end_to_end_benchmark_writes_its_results(tmp_path: Path) -> None:
    run("benchmarks.end_to_end", "--sides", OURS, "--jobs", "40", "--rounds", "1", results=tmp_path)
    page = (tmp_path / "end_to_end.md").read_text()
    assert "| Legwork |" in page
    assert str(ROOT) not in page


def test_every_peer_has_a_module_a_lock_and_words_about_its_settings() -> None:
    for contender in [*CONTENDERS, *MAILERS]:
        assert (REQUIREMENTS / f"{contender.module}.py").exists()
        assert contender.settings
        assert versions(contender.module)


def test_every_lock_of_a_peer_is_pinned_and_hashed_and_names_no_index() -> None:
    for contender in [*CONTENDERS, *MAILERS]:
        if contender.module != OURS:
            lock = (REQUIREMENTS / f"{contender.module}.txt").read_text()
            assert lock.count("==") <= lock.count("--hash=sha256:")
            assert "://" not in lock
            assert "--index-url" not in lock


def test_a_peer_that_needs_a_newer_python_is_left_out_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(venvs, "VENVS", tmp_path)
    monkeypatch.setattr(venvs, "least_python", lambda name: (9, 9))
    found, missing = installed([one for one in CONTENDERS if one.name in (LEGWORK, "oban")])
    assert [one.name for one in found] == [LEGWORK]
    assert missing == ["Oban for Python: it needs Python 9.9 or newer, which was not found."]


def test_the_oldest_python_of_a_peer_is_read_from_its_requirements() -> None:
    assert venvs.least_python("oban") == (3, 12)
    assert venvs.least_python("huey") <= sys.version_info


def test_the_page_of_queues_says_what_each_promises_and_what_it_logs(tmp_path: Path) -> None:
    by_name = {one.name: one for one in CONTENDERS}
    chosen = [by_name[name] for name in (LEGWORK, "pgqueuer-100", "huey")]
    samples = {one.name: [make_sample(1000.0)] for one in chosen}
    measured = {one.name: figures(one, samples[one.name]) for one in chosen}
    report.write(tmp_path, measured, samples, [], {}, [])
    rows = [line.split(" | ") for line in (tmp_path / "queue.md").read_text().splitlines() if line.startswith("| ")]
    ours, pgqueuer, huey = (
        [cells for cells in rows if cells[0] == f"| {title}"]
        for title in ("Legwork on PostgreSQL", "pgqueuer, batches of 100", "huey")
    )
    assert [figures_of[0][-1] for figures_of in (ours, pgqueuer, huey)] == ["345 |", "345 |", "- |"]
    assert [promises[1][3:5] for promises in (ours, pgqueuer, huey)] == [
        ["yes", "result, errors, progress"],
        ["yes", "a line in a log"],
        ["no", "result"],
    ]


def test_the_page_of_snapshots_compares_the_last_round_with_the_first(tmp_path: Path) -> None:
    ours = next(one for one in CONTENDERS if one.name == LEGWORK)
    rates = snapshot.Rates(ours, free=12_000, held=[10_000, 8_000, 9_000], noise=0.02)
    snapshot.write(tmp_path, [rates], {}, ["oban: none."])
    page = (tmp_path / "snapshot.md").read_text()
    assert "| Legwork on PostgreSQL | 12,000 | 10,000 | 8,000 | 9,000 | 90% | 75% | 2% |" in page
    assert "**Not in this run:** oban: none." in page
    assert "9,000/s, 90%" in (tmp_path / "snapshot.svg").read_text()


def test_the_page_of_interference_compares_with_an_idle_cluster(tmp_path: Path) -> None:
    alone, beside = interference.Times([0.002], [0.004]), interference.Times([0.003], [0.010])
    interference.write(tmp_path, {"redis": interference.Measured(alone, beside, 9000.0, 0)}, {})
    page = (tmp_path / "interference.md").read_text()
    assert "| Redis | 2.0, 2.0 | 3.0, 3.0 | 1.5, 1.5 | 4.0, 4.0 | 10.0, 10.0 | 2.5, 2.5 | 9,000 |" in page
    assert "**Means little:** with Redis the backlog was over before the end." in page


def test_a_request_after_a_slow_answer_is_counted_from_when_it_was_due(slow_first: str) -> None:
    times = ask(slow_first, "token", Question("GET", "/", 200), rate=100, seconds=0.05)
    assert len(times) == 5
    assert times[0] >= SLOW
    assert times[1] >= SLOW - 0.02


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(200, 0, -1)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100)) == (100, 198, 200)
    assert math.isnan(percentile([], 50))


def test_the_bars_compare_with_the_fastest_peer_of_each_sort() -> None:
    drains = {LEGWORK: 3000.0, "huey": 2500.0, "celery": 800.0, "procrastinate": 300.0}
    measured = {one.name: figures(one, [make_sample(drains[one.name])]) for one in CONTENDERS if one.name in drains}
    verdicts = {bar.what: bar.met for bar in cleared(measured)}
    assert verdicts["drain, against the fastest peer that stores results"] is False
    assert verdicts["drain, against procrastinate"] is True
    assert verdicts["enqueue one at a time, against the fastest peer on a database"] is True
    assert verdicts["enqueue one at a time, against django-q2, ORM broker"] is None
    assert verdicts["enqueue in bulk"] is None


def test_pauses_are_few_and_end_with_the_work() -> None:
    stored = iter([0, 0, 10, 90, 100])
    assert len(list(pauses(100, lambda: next(stored)))) == 3


def test_a_tree_is_stopped_resumed_and_killed_with_its_branches(tree: Tree) -> None:
    parent, child = eventually(lambda: len(tree.pids()) == 2 and tree.pids(), PATIENCE, "the child's start")
    tree.stop()
    assert {state(parent), state(child)} == {"T"}
    tree.resume()
    eventually(lambda: "T" not in {state(parent), state(child)}, PATIENCE, "the going on")
    assert tree.memory().pss > 0
    eventually(lambda: tree.cpu_seconds() > 0, PATIENCE, "the use of some CPU")
    tree.kill()
    eventually(lambda: state(child) in "ZX", PATIENCE, "the child's end")


def test_charts_hold_every_mark_and_survive_odd_names() -> None:
    marks = [Mark("<one> & two", 10, "10/s", ours=True), Mark("none", 0, "0/s")]
    for chart in (bars("A <title>", marks), columns("A <title>", marks)):
        texts = list(ElementTree.fromstring(chart).itertext())  # noqa: S314 our own text
        assert {"<one> & two", "none", "10/s", "A <title>"} <= set(texts)


@pytest.fixture
def slow_first() -> Iterator[str]:
    """The URL of a server that takes SLOW for its first answer."""
    waits = iter([SLOW])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(next(waits, 0))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    process = Process("a parent", [sys.executable, "-c", SPAWNING], log=tmp_path / "log")
    process.start()
    yield Tree(process.pid)
    process.stop(signal.SIGKILL)


def test_the_benchmark_of_plain_tasks_compares_both_clusters() -> None:
    command = [sys.executable, "-m", "benchmarks.plain_tasks", "--tasks", "10", "--rounds", "1", "--least", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10 * PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "times the rate of django-q2's own" in done.stdout


def run(module: str, *arguments: str, results: Path) -> None:
    command = [sys.executable, "-m", module, *arguments, "--results", str(results)]
    # Without the measuring of coverage, which never lets an idle process be quite idle.
    ours = ("DJANGO_SETTINGS_MODULE", "COV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=10 * PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


def make_sample(drain: float) -> Sample:
    return Sample(1000.0, None, drain, Memory(50, 40), 0.5, 0.2, wal=345.4, latencies=[0.002, 0.003])


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
