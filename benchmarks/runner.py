"""One contender in action: its client (benchmarks.client, in the contender's own environment) and its workers."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.roster import Contender
from benchmarks.stores import Stores
from benchmarks.tree import Tree
from benchmarks.venvs import ROOT, VENVS, NoPythonError, python_of
from demo.eventually import TooLateError
from demo.processes import DiedError, Process

LOGS = VENVS / "log"
STOP_WITHIN = 10.0
PATIENCE = 900.0
CHECK_EVERY = 10.0
"""Seconds between two looks at whether the workers are alive."""


def installed(contenders: Sequence[Contender]) -> tuple[list[Contender], list[str]]:
    """The contenders whose environments exist or could be made, and a sentence about each of the others."""
    found, missing = [], []
    for contender in contenders:
        try:
            python_of(contender.module)
        except NoPythonError as error:
            missing.append(f"{contender.title}: {error}.")
        else:
            found.append(contender)
    return found, missing


class Client:
    """Starts benchmarks.client and sends it requests: a method's name and its arguments."""

    def __init__(self, contender: Contender, env: Mapping[str, str]) -> None:
        self._log = LOGS / f"{contender.name}-client.log"
        command = [python_of(contender.module), "-m", "benchmarks.client", contender.module]
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(  # noqa: S603 the command is ours
                command, cwd=ROOT, env=dict(env), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )

    def ask(self, request: str, *arguments: object) -> Any:
        if self._popen.stdin is None or self._popen.stdout is None:
            raise DiedError("The client has no pipes.")
        self._popen.stdin.write(json.dumps([request, arguments]) + "\n")
        self._popen.stdin.flush()
        answer = self._popen.stdout.readline()
        if not answer:
            raise DiedError(f"The client died at {request!r}: {self._log.read_text()[-2000:]}")
        return json.loads(answer)

    def close(self) -> None:
        self._popen.kill()
        self._popen.communicate()


class Running:
    """A contender's client, and its workers once they are started; all gone at the end of the `with`."""

    def __init__(self, contender: Contender, stores: Stores) -> None:
        self.contender = contender
        LOGS.mkdir(parents=True, exist_ok=True)
        self._env = _environment(contender, stores)
        self._processes = [self._worker(number) for number in range(contender.processes)]
        self.client = Client(contender, self._env)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.stop_workers()

    @property
    def workers(self) -> Tree:
        return Tree(*(process.pid for process in self._processes))

    @property
    def trees(self) -> list[Tree]:
        """The workers of each started command, separately."""
        return [Tree(process.pid) for process in self._processes]

    def start_workers(self) -> None:
        for process in self._processes:
            process.start()

    def do_jobs(self, jobs: int) -> None:
        """Enqueue no-ops, and wait until their results are stored and the workers are idle again."""
        goal = self.client.ask("stored") + jobs
        self.client.ask("enqueue", jobs)
        self.wait(goal)
        self.workers.wait_until_idle()

    def wait(self, goal: int) -> float:
        """The moment (time.monotonic) at which so many results were stored. Raises DiedError and TooLateError."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for process in self._processes:
                process.check()
            ended: float | None = self.client.ask("wait", goal, CHECK_EVERY)
            if ended is not None:
                return ended
        raise TooLateError(f"{self.client.ask('stored')} of {goal} results were stored after {PATIENCE:g} s.")

    def stop_workers(self) -> None:
        """Ask them to stop, then kill each process of theirs that is left, whatever its parent is by then."""
        running = [process for process in self._processes if process.running()]
        left = [Tree(pid) for process in running for pid in Tree(process.pid).pids()]
        for process in running:
            Tree(process.pid).resume()
            process.stop(within=STOP_WITHIN)
        for tree in left:
            tree.kill()

    def _worker(self, number: int) -> Process:
        command = [_filled(part, self._env) for part in self.contender.command]
        log = LOGS / f"{self.contender.name}-{number + 1}.log"
        return Process(
            self.contender.title, [python_of(self.contender.module), *command], log=log, env=self._env, cwd=ROOT
        )


def _environment(contender: Contender, stores: Stores) -> dict[str, str]:
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": stores.url_of_database(contender.name),
        "REDIS_URL": stores.url_of_redis(),
        "BENCH_SOCKET": str(Path(tempfile.gettempdir()) / f"legwork-bench-{os.getpid()}.socket"),
    }
    return env | {name: _filled(value, env) for name, value in contender.env.items()}


def _filled(text: str, env: Mapping[str, str]) -> str:
    return text.replace("{redis}", env["REDIS_URL"]).replace("{database}", env["DATABASE_URL"])
