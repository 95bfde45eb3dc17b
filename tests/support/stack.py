"""Web process and cluster as real processes, and clients of them: Legwork as tests see it from outside."""

import subprocess
from collections.abc import Collection
from functools import cached_property
from typing import Any, Self

import demo.client
import demo.stack
from demo.client import FINAL
from demo.eventually import eventually
from demo.processes import Process
from demo.stack import MANAGE, ROOT
from tests.support import template_database
from tests.support.shell import Shell
from tests.support.timeouts import PATIENCE

ADA = "ada"
MIGRATE = "from django.core.management import call_command; call_command('migrate', interactive=False, verbosity=0)"
MAKE_TOKEN = """
from django.contrib.auth.models import User
from project.models import Token
user, _ = User.objects.get_or_create(username={name!r})
print(Token.objects.create(user)[1])
"""
NEWS_WITHIN = 60
NEWS_PAUSE = 0.05
"""Seconds between two requests: more of them would slow down the machine that is waited for."""


class Client(demo.client.Client):
    def another(self) -> "Client":
        """A client of the same user, for another thread."""
        return Client(self._root.removesuffix("/api/v1/"), self.token)

    @property
    def token(self) -> str:
        return str(self._session.headers["Authorization"]).split()[1]

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"jobs/{job_id}/", expect=200).json()
        return found

    def wait_for(self, job_id: str, status: str | Collection[str], within: float = NEWS_WITHIN) -> dict[str, Any]:
        """The job as soon as it has (one of) this status; fails at once when it has ended otherwise."""
        wanted = {status} if isinstance(status, str) else set(status)

        def arrived() -> dict[str, Any] | None:
            job = self.job(job_id)
            if job["status"] in wanted:
                return job
            assert job["status"] not in FINAL, f"waiting for {wanted}, and it ended as {job}"
            return None

        found = eventually(arrived, within, f"job {job_id} becoming {' or '.join(sorted(wanted))}", pause=NEWS_PAUSE)
        assert found
        return found


class Stack(demo.stack.Stack):
    """`with Stack(database_url, folder) as stack:` has migrated the database and started everything."""

    def start(self, within: float = 180) -> None:
        url, settings = self.env["DATABASE_URL"], self.env["DJANGO_SETTINGS_MODULE"]
        token = template_database.fill(url, settings, self._migrate_and_make_ada)
        self._clients = {ADA: Client(self.url, token)}
        super().start(within)

    def stop(self) -> None:
        self._shell.stop()
        super().stop()

    def run_code(self, code: str) -> str:
        """Run Python code with this stack's settings; returns what it printed."""
        return self._shell.run(code)

    def doctor(self) -> str:
        """The output of `manage.py doctor`, whatever its exit status."""
        command = [*MANAGE, "doctor", "--no-color"]
        done = subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=10 * PATIENCE)
        assert done.returncode in (0, 1, 2), done.stderr
        return done.stdout

    @cached_property
    def _shell(self) -> Shell:
        return Shell(self.env)

    def _migrate_and_make_ada(self) -> str:
        self.run_code(MIGRATE)
        token = self._make_token(ADA)
        self._shell.stop()  # a database with open connections cannot be copied
        return token

    def client(self, name: str = ADA) -> Client:
        """A client with a token of the user of this name, who is created on first use."""
        if name not in self._clients:
            self._clients[name] = Client(self.url, self._make_token(name))
        return self._clients[name]

    def _make_token(self, name: str) -> str:
        return self.run_code(MAKE_TOKEN.format(name=name)).strip()

    def anonymous(self) -> Client:
        return Client(self.url)

    def process(self, name: str) -> Process:
        """`web`, `worker`, `worker-2`, …"""
        return next(process for process in self.processes if process.name == name)

    def kill(self, name: str) -> None:
        """SIGKILL to this process and to all that it started, as the kernel or a failing machine does it."""
        self.process(name).kill()

    def revive(self) -> Self:
        """Starts again what a test has killed or stopped."""
        for process in self.processes:
            if not process.running():
                process.start()
        eventually(self.ready, 180, f"{self.url}/readyz answering 200")
        return self

    def log_tails(self, lines: int) -> list[tuple[str, str]]:
        return [(process.log.name, process.tail(lines)) for process in self.processes]
