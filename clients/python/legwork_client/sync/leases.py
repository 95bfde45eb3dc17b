"""leases/: a remote worker's calls. legwork_client.Worker makes them for you."""

from collections.abc import Sequence
from typing import Any

from legwork_client.references import given, path_of
from legwork_client.sync.connection import Connection
from legwork_client.types import Job, Lease, Renewal


class Leases:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lease(self, worker: str, kinds: Sequence[str], *, wait: int = 0) -> Lease | None:
        """A due job of these kinds; None if none became due within `wait` seconds.

        Raises Conflict, with the location of the lease that this worker holds already.
        """
        body = {"worker": worker, "kinds": list(kinds)}
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        timeout = wait + self._connection.timeout
        response = self._connection.create("leases/", body, headers=headers, timeout=timeout)
        leased: Lease | None = response.json() if response.status_code == 201 else None
        return leased

    def get(self, lease: Lease | str) -> Lease:
        """Raises Gone once it is lost or finished, as all that follow."""
        found: Lease = (self._connection.get(path_of("leases", lease))).json()
        return found

    def renew(self, lease: Lease | str, *, percent: float | None = None, message: str = "") -> Renewal:
        """Renew the lease, and report progress if percent is given."""
        body = {} if percent is None else {"progress": {"percent": percent, "message": message}}
        renewal: Renewal = (self._connection.request("PATCH", path_of("leases", lease), json=body)).json()
        return renewal

    def succeed(self, lease: Lease | str, result: Any = None) -> Job:
        return self._report(f"{path_of('leases', lease)}success/", {"result": result})

    def fail(
        self, lease: Lease | str, message: str, *, permanent: bool = False, retry_after: float | None = None
    ) -> Job:
        """permanent: no further attempts. retry_after: seconds until the next one, instead of the kind's backoff."""
        body = given(message=message, permanent=permanent, retry_after=retry_after)
        return self._report(f"{path_of('leases', lease)}failure/", body)

    def _report(self, path: str, body: object) -> Job:
        """A report may be repeated: the same one again has the same answer."""
        job: Job = (self._connection.request("POST", path, json=body, repeatable=True)).json()
        return job
