"""A remote worker: leases one job at a time, calls its handler, renews the lease meanwhile, and reports the end."""

import asyncio
import inspect
import logging
import random
import signal
import socket
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import httpx

from legwork_client.aio.client import AsyncClient
from legwork_client.errors import BadRequest, Conflict, Gone, LegworkError, ServerError, TooManyRequests, Unreachable
from legwork_client.retries import Retries
from legwork_client.task import PermanentFailure, RetryLater, Task, TaskStopped
from legwork_client.types import Lease

log = logging.getLogger("legwork_client.worker")

Handler = TypeVar("Handler", bound=Callable[..., Any])

WAIT = 20
"""Seconds that the server may hold a request for a lease until a job is due."""
SOON = 0.5
"""An answer that comes sooner, in seconds, was not held: the worker pauses before it asks again."""
BEATS = 3
"""Heartbeats while a lease lasts, so that two may fail."""
TICK = 0.5
"""Seconds between two looks at the handler's progress, which is then sent."""
MESSAGE_LIMIT = 2000


class Worker:
    """name: of this device, stable over restarts if that is wanted; one name holds one lease at a time.

    Handlers are called with a Task and the job's params as keywords. A coroutine function is cancelled when it has to
    stop; any other function runs in a thread and notices it in task.progress(), task.sleep() and task.check().
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        name: str | None = None,
        timeout: float = 30.0,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name or f"{socket.gethostname()[:60]}-{uuid.uuid4().hex[:8]}"
        self.retries = retries or Retries(cap=30.0)
        self._connect = partial(AsyncClient, url, token, timeout=timeout, retries=self.retries, transport=transport)
        self._handlers: dict[str, Callable[..., Any]] = {}
        self._stopping = asyncio.Event()
        self._task: Task | None = None

    def handles(self, kind: str) -> Callable[[Handler], Handler]:
        """Decorator: this function does the jobs of this kind. What it returns, as JSON, is the result."""

        def register(handler: Handler) -> Handler:
            self._handlers[kind] = handler
            return handler

        return register

    def run(self) -> None:
        """Work until SIGINT or SIGTERM; the job under way is given back."""
        asyncio.run(self._run())

    async def serve(self) -> None:
        """Work until stop(). Raises ApiError if the server refuses this worker for good."""
        failures = 0
        async with self._connect() as client:
            while not self._stopping.is_set():
                began = asyncio.get_running_loop().time()
                try:
                    lease = await self._unless_stopping(client.leases.lease(self.name, list(self._handlers), wait=WAIT))
                except (Unreachable, ServerError, TooManyRequests, Conflict) as error:
                    failures += 1
                    log.warning("no lease: %s", error)
                    await self._pause(self.retries.backoff(failures))
                    continue
                failures = 0
                if lease is not None:
                    await self._work(client, lease)
                elif asyncio.get_running_loop().time() - began < SOON:
                    await self._pause(random.uniform(SOON, 4 * SOON))  # noqa: S311 it only spreads requests

    def stop(self) -> None:
        """End serve(), and give back the job under way. Call it in the event loop's thread."""
        self._stopping.set()
        if self._task:
            self._task.stop("stopping")

    async def _run(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        await self.serve()

    async def _work(self, client: AsyncClient, lease: Lease) -> None:
        """Run one job from its lease to its report."""
        task = self._task = Task(lease)
        log.info("job %s (%s), attempt %d", task.job["id"], task.job["kind"], task.attempt)
        if self._stopping.is_set():
            task.stop("stopping")
        report: Callable[[], Any]
        handler = asyncio.ensure_future(self._call(task))
        heartbeat = asyncio.ensure_future(self._beat(client, task, handler))
        try:
            report = partial(client.leases.succeed, lease, await handler)
        except (TaskStopped, asyncio.CancelledError):
            if task.stop_reason is None:
                raise
            report = partial(client.leases.fail, lease, f"The worker stopped: {task.stop_reason}.", retry_after=0)
        except PermanentFailure as error:
            report = partial(client.leases.fail, lease, _message(error), permanent=True)
        except RetryLater as error:
            report = partial(client.leases.fail, lease, _message(error), retry_after=error.seconds)
        except Exception as error:
            log.exception("job %s", task.job["id"])
            report = partial(client.leases.fail, lease, _message(error))
        finally:
            heartbeat.cancel()
            self._task = None
        if task.stop_reason != "lost":
            await self._report(client, lease, report)

    async def _call(self, task: Task) -> Any:
        handler = self._handlers[task.job["kind"]]
        call = partial(handler, task, **task.job["params"])
        return await (call() if inspect.iscoroutinefunction(handler) else asyncio.to_thread(call))

    async def _beat(self, client: AsyncClient, task: Task, handler: "asyncio.Future[Any]") -> None:
        """Renew the lease until the job has ended or the lease is lost. Tells the handler when to stop."""
        length = _length(task.lease)
        interval = length / BEATS
        loop = asyncio.get_running_loop()
        lost_at, beat_at = loop.time() + length, loop.time() + interval
        while task.stop_reason != "lost":
            await asyncio.sleep(min(TICK, max(beat_at - loop.time(), 0.01)))
            progress = task.take_progress()
            if progress or loop.time() >= beat_at:
                beat_at = loop.time() + interval
                began = loop.time()
                try:
                    renewal = await client.leases.renew(task.lease, **progress)
                except Gone:
                    task.stop("lost")
                except LegworkError as error:
                    log.warning("heartbeat: %s", error)
                else:
                    lost_at = began + length
                    if renewal["cancel_requested"]:
                        task.stop("cancelled")
            if loop.time() >= lost_at:
                task.stop("lost")
            if task.stop_reason and inspect.iscoroutinefunction(self._handlers[task.job["kind"]]):
                handler.cancel()

    async def _report(self, client: AsyncClient, lease: Lease, report: Callable[[], Any]) -> None:
        try:
            await report()
        except Gone:
            log.warning("job %s: the lease was lost, so its report changed nothing", lease["job"]["id"])
        except BadRequest as error:
            with suppress(LegworkError):
                await client.leases.fail(lease, f"The result was refused: {error}"[:MESSAGE_LIMIT], permanent=True)
        except LegworkError as error:
            log.warning("job %s: no report, so its lease will expire: %s", lease["job"]["id"], error)

    async def _unless_stopping(self, request: Any) -> Any:
        """What the request returns; None if the worker is told to stop first."""
        asked, stopping = asyncio.ensure_future(request), asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({asked, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if asked.done():
            return asked.result()
        asked.cancel()
        return None

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def _length(lease: Lease) -> float:
    """Of the lease in seconds, by the server's clock alone: this machine's may be wrong."""
    began = datetime.fromisoformat(lease["job"]["started_at"] or lease["expires_at"])
    return (datetime.fromisoformat(lease["expires_at"]) - began).total_seconds()


def _message(error: Exception) -> str:
    text = str(error)
    kind = "" if isinstance(error, PermanentFailure | RetryLater) else type(error).__name__
    return ": ".join(part for part in (kind, text) if part)[:MESSAGE_LIMIT] or "no message"
