"""Whether this process lives (/healthz) and can serve (/readyz). Asked by balancers, with whatever Host they like."""

from collections.abc import Callable
from threading import Event, Lock, Thread

import orjson
import structlog
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse

from rest.problems import problem

logger = structlog.get_logger(__name__)

Checks = dict[str, str]

ALIVE = b'{"status":"ok"}'
DATABASE_SECONDS = 2.0
"""How long /readyz waits for the database; it must answer before the balancer gives up on it."""


class HealthMiddleware:
    """Stands before everything that looks at Host, redirects to https, or opens a session."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        view = {"/healthz": healthz, "/readyz": readyz}.get(request.path)
        return view(request) if view else self.get_response(request)


def healthz(request: HttpRequest) -> HttpResponse:
    return _answer(request, 200, ALIVE)


def readyz(request: HttpRequest) -> HttpResponse:
    return _answer(request, *readiness())


def _answer(request: HttpRequest, status: int, body: bytes) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        return problem(request, 405, f'Method "{request.method}" not allowed.', headers={"Allow": "GET, HEAD"})
    return HttpResponse(body, status=status, content_type="application/json", headers={"Cache-Control": "no-store"})


def readiness(**more: str) -> tuple[int, bytes]:
    """The answer's status and body. Only this instance's own faults make it 503: a balancer that took every instance
    out because the database they share is away would gain nothing."""
    checks = _database_checks() | more
    own_fault = checks["migrations"] == "missing" or "exhausted" in checks.values()
    status = "unavailable" if own_fault else "ok" if set(checks.values()) == {"ok"} else "degraded"
    return 503 if own_fault else 200, orjson.dumps({"status": status, "checks": checks})


def _database_checks() -> Checks:
    return _probe.result(DATABASE_SECONDS) or {"database": "unreachable", "migrations": "unknown"}


class Probe:
    """Asks the database in a thread of its own, so that one that hangs holds neither the asker nor a second thread."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.done = Event()
        self.done.set()
        self.checks: Checks | None = None

    def result(self, seconds: float) -> Checks | None:
        """What was found; None if it was nothing, or nothing in time."""
        with self.lock:
            if self.done.is_set():
                self.checks = None
                self.done.clear()
                Thread(target=self._run, name="readyz", daemon=True).start()
        return self.checks if self.done.wait(seconds) else None

    def _run(self) -> None:
        try:
            self.checks = _asked()
        except Exception as error:
            # A database that is away raises many things; each means the same here.
            logger.warning("database_unreachable", error=type(error).__name__)
        finally:
            connections[DEFAULT_DB_ALIAS].close()
            self.done.set()


_probe = Probe()
_migrated = Event()


def _asked() -> Checks:
    connection = connections[DEFAULT_DB_ALIAS]
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    # Migrations do not get lost again, so a process that has seen them all need not look again.
    if not _migrated.is_set():
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return {"database": "ok", "migrations": "missing"}
        _migrated.set()
    return {"database": "ok", "migrations": "ok"}
