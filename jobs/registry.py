"""The registry of job kinds: @job registers a handler, submit() and the worker look it up by name."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from rest_framework.serializers import Serializer, ValidationError

from jobs.errors import JobError
from jobs.retry import DEFAULT_ATTEMPTS, Retry, exponential
from jobs.sealing import seal, unseal
from rest.json_value import NotStorable, to_json
from rest.requests.strict import StrictSerializer, validated

Handler = Callable[..., Any]
Reads = Literal["primary", "replica"]
OnCancel = Callable[[UUID], None]
Secrets = Callable[[dict[str, Any], Callable[[str], str]], dict[str, Any]]
Prepare = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
Conclude = Callable[[list[Any]], list[Any]]

QUEUE_NAME = re.compile(r"(?!.*\.fifo\Z)[A-Za-z0-9][A-Za-z0-9_.-]{0,49}")
"""A queue's name is the end of an SQS queue's name, and must fit the column Job.queue."""
QUEUE_NAME_RULE = (
    "1 to 50 letters, digits, hyphens, underscores or dots, starting with a letter or digit, not ending in .fifo"
)


REMOTE_POOL = "@remote"
"""The pool (jobs/models/queue/claiming.py) of all remote kinds. No worker of a cluster claims from it."""
REMOTE_LEASE = 120
"""Seconds that a lease of a remote kind lasts unless the kind says otherwise."""


class UnknownKind(JobError):
    """No kind of this name is registered in this process."""


class NoParams(StrictSerializer):
    """The params of a kind without params."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of job. job() explains the fields."""

    name: str
    handler: Handler
    params: type[Serializer[Any]]
    timeout: int
    retry: Retry
    queue: str
    threads: int
    internal: bool = False
    reads: Reads = "primary"
    on_cancel: OnCancel | None = None
    secrets: Secrets | None = None
    remote: bool = False
    lease: int = REMOTE_LEASE
    prepare: Prepare | None = None
    conclude: Conclude | None = None

    @property
    def description(self) -> str:
        """The first paragraph of the handler's docstring, on one line."""
        return " ".join((inspect.getdoc(self.handler) or "").split("\n\n")[0].split())

    @property
    def pool(self) -> str:
        """Who claims it (claiming.py): a pool of threads, remote workers, or a main thread if empty."""
        if self.remote:
            return REMOTE_POOL
        return self.name if self.threads else ""

    def validate_params(self, params: object) -> object:
        """Valid params as plain JSON, ready to store. Raises rest_framework.serializers.ValidationError."""
        try:
            stored = to_json(params)
        except NotStorable as error:
            raise ValidationError(f"This {error}.", "unstorable") from None
        self.handler_arguments(stored)
        if self.secrets and isinstance(stored, dict):
            return self.secrets(stored, seal)
        return stored

    def handler_arguments(self, params: object) -> dict[str, Any]:
        """Stored params as the handler's keyword arguments: a date is a date, an absent optional param is left out.

        Raises rest_framework.serializers.ValidationError.
        """
        if params == {} and self.params is NoParams:
            return {}
        if self.secrets and isinstance(params, dict):
            params = self.secrets(params, unseal)
        return dict(validated(self.params, params))


_kinds: dict[str, Kind] = {}


def job(
    name: str,
    *,
    params: type[Serializer[Any]] = NoParams,
    timeout: int = 600,
    retry: Retry | None = None,
    queue: str = "default",
    threads: int = 0,
    internal: bool = False,
    reads: Reads = "primary",
    on_cancel: OnCancel | None = None,
    secrets: Secrets | None = None,
    remote: bool = False,
    lease: int = REMOTE_LEASE,
    prepare: Prepare | None = None,
    conclude: Conclude | None = None,
) -> Callable[[Handler], Handler]:
    """Register a handler as a kind of job. It is called as handler(run, **params) and returns JSON or None.

    timeout: seconds that an attempt may take. queue: served by `qcluster --queue NAME`. threads: for handlers that
    mostly wait for I/O, how many jobs of this kind one I/O worker process runs at once (settings.IO_WORKERS); 0 means
    one at a time, in the main thread of a worker process (settings.WORKERS). internal: only our code submits it,
    clients cannot see it. reads: "replica" sends the handler's reads to replicas (worker/attempts/replica_reads.py).
    on_cancel: called with the job's id when a job is cancelled or asked to stop, in the same transaction. Kinds whose
    names begin with "demo." exist with DEMO_KINDS only. secrets: returns the params with a function applied to each of
    their secrets, which are stored encrypted (jobs/sealing.py).

    prepare, conclude: what kinds with threads do for many of their jobs at once (worker/attempts/batches.py). prepare
    gets the arguments of the handlers that are about to start, and returns those they are called with. conclude gets
    what handlers have returned, and returns the results to store; it may get the same again if the database goes away.
    Both run outside of the handlers' threads: conclude also in the heartbeat's.

    remote: programs of the job's owner run it (jobs/remote), and the function is never called: its docstring describes
    the kind. Attempts are unlimited unless retry limits them. lease: seconds that such a program may be silent.
    """

    def register(handler: Handler) -> Handler:
        if name.startswith("demo.") and not settings.DEMO_KINDS:
            return handler
        if name in _kinds:
            raise JobError(f"Two kinds of job are called {name!r}: {_kinds[name].handler} and {handler}.")
        if not QUEUE_NAME.fullmatch(queue):
            raise JobError(f"The queue of {name} is called {queue!r}; it must be {QUEUE_NAME_RULE}.")
        if remote and threads:
            raise JobError(f"{name} is remote; threads= is for kinds that workers of a cluster run.")
        if (prepare or conclude) and not threads:
            raise JobError(f"{name} has no threads; prepare= and conclude= are for kinds with threads=.")
        policy = retry or exponential(attempts=None if remote else DEFAULT_ATTEMPTS)
        _kinds[name] = Kind(
            *(name, handler, params, timeout, policy, queue, threads, internal, reads, on_cancel),
            secrets=secrets,
            remote=remote,
            lease=lease,
            prepare=prepare,
            conclude=conclude,
        )
        return handler

    return register


def minutes(count: float) -> int:
    """Minutes in seconds, for a @job line."""
    return round(count * 60)


def find_kind(name: str) -> Kind:
    """The kind of this name; raises UnknownKind."""
    try:
        return _kinds[name]
    except KeyError:
        raise UnknownKind(name) from None


def kinds() -> Iterator[Kind]:
    """All kinds, sorted by name."""
    return iter(sorted(_kinds.values(), key=lambda kind: kind.name))
