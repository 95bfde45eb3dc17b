"""Health checks for load balancers, with any Host: /healthz (the process lives) and /readyz (it can serve)."""

from collections.abc import Callable
from threading import Event, Lock, Thread

import orjson
import structlog
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse

from rest import outage
from rest.problems import problem

logger = structlog.get_logger(__name__)

Checks = dict[str, str]

ALIVE = b'{"status":"ok"}'
DATABASE_SECONDS = 2.0
"""How long /readyz waits for the database: less than a balancer waits for /readyz."""


class HealthMiddleware:
    """Comes before everything that checks Host, redirects to https, or loads a session."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        view = {"/healthz": healthz, "/readyz": readyz}.get(request.path)
        return view(request) if view else self.get_response(request)


def healthz(request: HttpRequest) -> HttpResponse:
    return _respond(request, 200, ALIVE)


def readyz(request: HttpRequest) -> HttpResponse:
    return _respond(request, *readiness())


def _respond(request: HttpRequest, status: int, body: bytes) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        return problem(request, 405, f'Method "{request.method}" not allowed.', headers={"Allow": "GET, HEAD"})
    return HttpResponse(body, status=status, content_type="application/json", headers={"Cache-Control": "no-store"})


def readiness(**more: str) -> tuple[int, bytes]:
    """The status and body of /readyz. more: results of further checks.

    503 only for faults of this instance: taking out all instances because the database they share is away helps nobody.
    """
    checks = _database_check.result(DATABASE_SECONDS) or {"database": "unreachable", "migrations": "unknown"}
    checks |= more
    own_fault = checks["migrations"] == "missing" or "exhausted" in checks.values()
    status = "unavailable" if own_fault else "ok" if set(checks.values()) == {"ok"} else "degraded"
    return 503 if own_fault else 200, orjson.dumps({"status": status, "checks": checks})


class DatabaseCheck:
    """Checks the database in its own thread: if it hangs, the caller does not, and no second thread is started."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.done = Event()
        self.done.set()
        self.checks: Checks | None = None

    def result(self, seconds: float) -> Checks | None:
        """None if the database does not answer in time, or with an error."""
        with self.lock:
            if self.done.is_set():
                self.checks = None
                self.done.clear()
                Thread(target=self._run, name="readyz", daemon=True).start()
        return self.checks if self.done.wait(seconds) else None

    def _run(self) -> None:
        try:
            self.checks = _check_database()
        except Exception as error:
            # A database that is away causes many kinds of errors; all mean the same here.
            if not outage.database.note(error):
                logger.warning("database_unreachable", error=type(error).__name__)
        finally:
            connections[DEFAULT_DB_ALIAS].close()
            self.done.set()


_database_check = DatabaseCheck()
_migrated = Event()


def _check_database() -> Checks:
    connection = connections[DEFAULT_DB_ALIAS]
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    # Applied migrations stay applied, so a process that has seen them all does not check again.
    if not _migrated.is_set():
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return {"database": "ok", "migrations": "missing"}
        _migrated.set()
    return {"database": "ok", "migrations": "ok"}
