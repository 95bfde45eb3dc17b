"""jobs/ and job-kinds/: submit, follow, cancel, repeat, delete, download."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from legwork_client.errors import JobNotSucceeded
from legwork_client.references import given, path_of, portions
from legwork_client.sync.connection import Connection
from legwork_client.sync.watch import Watch
from legwork_client.types import BatchResult, Job, Kind

BATCH = 500
"""Jobs in one request."""

JobRef = Job | str
"""A job, its id, or its URL."""


class Jobs:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def submit(
        self,
        kind: str,
        params: dict[str, Any] | None = None,
        *,
        run_at: datetime | None = None,
        priority: int | None = None,
        timeout: int | None = None,
        max_attempts: int | None = None,
        unique_key: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """The accepted job. With the same idempotency_key it is accepted once, however often this is called."""
        order = given(
            kind=kind,
            params=params,
            run_at=run_at,
            priority=priority,
            timeout=timeout,
            max_attempts=max_attempts,
            unique_key=unique_key,
        )
        job: Job = (self._connection.create("jobs/", order, idempotency_key)).json()
        return job

    def submit_many(self, orders: Sequence[dict[str, Any]], *, idempotency_key: str | None = None) -> list[BatchResult]:
        """One result per order, in their order: `id` and `url` if it was accepted, else `errors`.

        orders: bodies of POST jobs/, any number of them.
        """
        results: list[BatchResult] = []
        key = idempotency_key or str(uuid.uuid4())
        for number, portion in enumerate(portions(orders, BATCH)):
            body = {"jobs": [given(**order) for order in portion]}
            results += (self._connection.create("jobs/batch/", body, f"{key}-{number}")).json()["results"]
        return results

    def get(self, job: JobRef) -> Job:
        found: Job = (self._connection.get(path_of("jobs", job))).json()
        return found

    def find(self, **filters: Any) -> Iterator[Job]:
        """Newest first, over all pages. filters: status, kind, created_after, created_before, page_size."""
        return self._connection.pages("jobs/", given(**filters))

    def changes(self, job: JobRef, *, within: float | None = None) -> Iterator[Job]:
        """The job whenever it has changed, until it has finished. within: seconds, then WaitTimeout is raised."""
        return self._watch(job, within).states()

    def wait(self, job: JobRef, *, within: float | None = None) -> Job:
        """The finished job, whatever it ended as."""
        finished: Job = self._watch(job, within).final()
        return finished

    def result(self, job: JobRef, *, within: float | None = None) -> Any:
        """The result of a job that succeeds. Raises JobNotSucceeded."""
        finished = self.wait(job, within=within)
        if finished["status"] != "succeeded":
            raise JobNotSucceeded(finished)
        return finished["result"]

    def cancel(self, job: JobRef) -> Job:
        """Cancel it at once if it waits, or soon if it runs. Raises Conflict if it has finished otherwise."""
        response = self._connection.request("POST", f"{path_of('jobs', job)}cancellation/", repeatable=True)
        cancelled: Job = response.json()
        return cancelled

    def retry(self, job: JobRef, *, idempotency_key: str | None = None) -> Job:
        """Queue a failed or cancelled job again. Raises Conflict."""
        again: Job = (self._connection.create(f"{path_of('jobs', job)}retries/", None, idempotency_key)).json()
        return again

    def delete(self, job: JobRef) -> None:
        """Delete a finished job. Raises Conflict."""
        self._connection.request("DELETE", path_of("jobs", job))

    def output(self, job: JobRef) -> bytes:
        """The file that the job produced. Raises NotFound if there is none."""
        return (self._connection.get(f"{path_of('jobs', job)}output/")).content

    def kinds(self) -> list[Kind]:
        found: list[Kind] = (self._connection.get("job-kinds/")).json()["results"]
        return found

    def _watch(self, job: JobRef, within: float | None) -> Watch:
        path = path_of("jobs", job)
        return Watch(self._connection, path, f"{path}events/", within)
