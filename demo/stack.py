"""The stack that `make demo`, `make run` and tests start: web, workers and a simulated Mailgun over one database."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from demo.eventually import eventually
from demo.processes import DiedError, Process, free_port

ROOT = Path(__file__).resolve().parent.parent
MANAGE = [sys.executable, str(ROOT / "manage.py")]

ADD_USER = """
import os
from django.contrib.auth import get_user_model
staff = os.environ["NEW_USER_IS_STAFF"] == "yes"
password = os.environ["NEW_USER_PASSWORD"]
user, _ = get_user_model().objects.get_or_create(username=os.environ["NEW_USER"])
if not user.check_password(password):
    user.set_password(password)
user.is_staff = user.is_superuser = staff
user.save()
"""


class Stack:
    """clusters: number of qcluster processes. mail: with Mailgun's simulator. logs: folder, with a file per process."""

    def __init__(
        self,
        database_url: str,
        logs: Path,
        *,
        port: int = 0,
        clusters: int = 1,
        mail: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "settings.development",
            "DATABASE_URL": database_url,
            "PYTHONUNBUFFERED": "1",
            # Seconds; short, because stopping the stack waits for it.
            "WORKER_GRACE": "2",
            "PUBLIC_URL": self.url,
            **(env or {}),
        }
        self.mailgun_port = free_port(8025) if mail else 0
        if mail:
            self.env["MAILGUN_API_URL"] = f"{self.mailgun_url}/v3"
        self.logs = logs
        self.web = self._process("web", *self._web_command())
        names = ["worker", *(f"worker-{number}" for number in range(2, clusters + 1))][:clusters]
        self.clusters = [self._process(name, *MANAGE, "qcluster") for name in names]
        self.simulators = [self._process("mailgun", *self._mailgun_command())] if mail else []

    @classmethod
    def on_sqlite(cls, folder: Path, name: str, *, fresh: bool = False, port: int = 0) -> Self:
        """A stack on an SQLite file in `folder`, with logs below. fresh: delete what an earlier stack left."""
        logs = folder / "log"
        logs.mkdir(parents=True, exist_ok=True)
        database = folder / f"{name}.sqlite3"
        stack = cls(f"sqlite:///{database}", logs, port=port, mail=True, env={"WORKERS": "2"})
        stale = folder.glob(f"{database.name}*") if fresh else []
        for file in [*stale, *(process.log for process in stack.processes)]:
            file.unlink(missing_ok=True)
        return stack

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def processes(self) -> list[Process]:
        return [self.web, *self.clusters, *self.simulators]

    @property
    def mailgun_url(self) -> str:
        """The simulator's inbox."""
        return f"http://127.0.0.1:{self.mailgun_port}"

    def migrate(self) -> None:
        self.manage("migrate", "--noinput", "--verbosity", "0")

    def add_user(self, name: str, password: str, *, staff: bool = False) -> None:
        """Create the user, or give an existing one this password."""
        who = {"NEW_USER": name, "NEW_USER_PASSWORD": password, "NEW_USER_IS_STAFF": "yes" if staff else "no"}
        self.manage("shell", "--verbosity", "0", "--command", ADD_USER, env=who)

    def start(self, within: float = 180) -> None:
        """Start every process, and wait until the web process is ready."""
        for process in self.processes:
            process.start()
        eventually(self.ready, within, f"{self.url}/readyz answering 200")

    def ready(self) -> bool:
        self.check()
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).ok
        except (requests.ConnectionError, requests.Timeout):
            return False

    def check(self) -> None:
        """Raise DiedError if a process has ended by itself."""
        for process in self.processes:
            process.check()

    def stop(self) -> None:
        """Stop all, the web process first, so that no job is accepted that no worker will run."""
        web, *others = self.processes
        web.stop()
        for process in others:
            process.ask_to_stop()
        for process in others:
            process.wait_or_kill()

    def manage(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """Run a management command on this stack's database; returns its output."""
        done = subprocess.run(  # noqa: S603 our own commands
            [*MANAGE, *arguments], env={**self.env, **(env or {})}, cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode:
            log = self.logs / f"{arguments[0]}.log"
            log.write_text(done.stdout + done.stderr)
            raise DiedError(f"`manage.py {arguments[0]}` failed ({log}): {done.stderr.strip().splitlines()[-1]}")
        return done.stdout

    def _process(self, name: str, *command: str) -> Process:
        return Process(name, command, log=self.logs / f"{name}.log", env=self.env, cwd=ROOT)

    def _web_command(self) -> list[str]:
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--no-access-log"]
        return [sys.executable, "-m", "uvicorn", "project.asgi:application", *options]

    def _mailgun_command(self) -> list[str]:
        return [
            *[*MANAGE, "mailgun_simulator", "--port", str(self.mailgun_port)],
            *["--webhook-url", f"{self.url}/webhooks/mailgun/tracking/"],
        ]
