"""The worker: what it leases, beats and reports, against a scripted site."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx

from legwork_client import PermanentFailure, Retries, RetryLater, Task, Worker

LEASE = {
    "id": "1-1",
    "url": "http://site/api/v1/leases/1-1/",
    "expires_at": "2026-03-01T12:00:01Z",
    "job": {"id": "1", "kind": "device.sync", "attempt": 1, "params": {"n": 2}, "started_at": "2026-03-01T12:00:00Z"},
}


class Site:
    """Has one job to lease. reports: what the worker reports about it; the first report stops the worker."""

    def __init__(self, beat: Callable[[], httpx.Response] | None = None) -> None:
        self.beat = beat or (lambda: httpx.Response(200, json=self.renewal()))
        self.reports: list[tuple[str, Any]] = []
        self.beats: list[Any] = []
        self.leases = 0
        self.worker = Worker(
            "http://site", "key", name="w", retries=Retries(base=0), transport=httpx.MockTransport(self.answer)
        )

    @staticmethod
    def renewal(**more: object) -> dict[str, object]:
        return {"expires_at": LEASE["expires_at"], "cancel_requested": False, **more}

    async def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if request.method == "PATCH":
            self.beats.append(body)
            return self.beat()
        if request.url.path == "/api/v1/leases/":
            self.leases += 1
            return httpx.Response(201, json=LEASE) if self.leases == 1 else self.stop(httpx.Response(204))
        self.reports.append((request.url.path.removeprefix("/api/v1/leases/1-1/"), body))
        return self.stop(httpx.Response(200, json={}))

    def stop(self, response: httpx.Response) -> httpx.Response:
        self.worker.stop()
        return response

    def serve(self, handler: Callable[..., Any]) -> list[tuple[str, Any]]:
        self.worker.handles("device.sync")(handler)
        asyncio.run(asyncio.wait_for(self.worker.serve(), 60))
        return self.reports


def test_a_coroutine_and_a_function_are_both_handlers() -> None:
    async def double(task: Task, n: int) -> int:
        return 2 * n

    def triple(task: Task, n: int) -> int:
        return 3 * n

    assert Site().serve(double) == [("success/", {"result": 4})]
    assert Site().serve(triple) == [("success/", {"result": 6})]


def test_what_a_handler_raises_is_the_failure_that_is_reported() -> None:
    def handler_raising(error: Exception) -> Callable[..., None]:
        def handler(task: Task, n: int) -> None:
            raise error

        return handler

    assert Site().serve(handler_raising(ValueError("odd"))) == [
        ("failure/", {"message": "ValueError: odd", "permanent": False})
    ]
    assert Site().serve(handler_raising(PermanentFailure("never"))) == [
        ("failure/", {"message": "never", "permanent": True})
    ]
    assert Site().serve(handler_raising(RetryLater(9, "soon"))) == [
        ("failure/", {"message": "soon", "permanent": False, "retry_after": 9})
    ]


def test_progress_goes_with_the_heartbeat() -> None:
    async def handler(task: Task, n: int) -> None:
        task.progress(50, "half")
        while not site.beats:
            await asyncio.sleep(0.01)

    site = Site()
    assert site.serve(handler) == [("success/", {"result": None})]
    assert site.beats[0] == {"progress": {"percent": 50, "message": "half"}}


def test_a_cancelled_job_stops_its_handler_and_is_reported() -> None:
    async def sleep(task: Task, n: int) -> None:
        await asyncio.sleep(600)

    def work(task: Task, n: int) -> None:
        task.sleep(600)

    for handler in (sleep, work):
        site = Site(lambda: httpx.Response(200, json=Site.renewal(cancel_requested=True)))
        [(call, body)] = site.serve(handler)
        assert (call, body["permanent"]) == ("failure/", False)


def test_a_lost_lease_stops_its_handler_and_is_not_reported() -> None:
    async def sleep(task: Task, n: int) -> None:
        await asyncio.sleep(600)

    assert Site(lambda: httpx.Response(410, json={})).serve(sleep) == []


def test_a_lease_that_cannot_be_renewed_is_lost_when_it_ends() -> None:
    def cut() -> httpx.Response:
        raise httpx.ReadError("cut")

    async def sleep(task: Task, n: int) -> None:
        await asyncio.sleep(600)

    began = time.monotonic()
    assert Site(cut).serve(sleep) == []
    assert time.monotonic() - began >= 1


def test_a_worker_that_stops_gives_its_job_back() -> None:
    async def handler(task: Task, n: int) -> None:
        site.worker.stop()
        await asyncio.sleep(600)

    site = Site()
    [(call, body)] = site.serve(handler)
    assert (call, body["retry_after"]) == ("failure/", 0)
