"""The kinds of job there are: @job puts a function here, submit and worker look it up by its name."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from rest_framework.serializers import Serializer, ValidationError

from jobs.errors import JobError
from jobs.retry import Retry, exponential
from rest.json_value import NotStorable, json_value
from rest.strict import StrictSerializer

Handler = Callable[..., Any]
Reads = Literal["primary", "replica"]
OnCancel = Callable[[UUID], None]

QUEUE_NAME = re.compile(r"(?!.*\.fifo\Z)[A-Za-z0-9][A-Za-z0-9_.-]{0,49}")
"""What a queue may be called: it is the end of an SQS queue's name, and a column's value."""
IN_WORDS = "a letter or digit, and up to 49 more, hyphens, underscores and dots among them, without .fifo at its end"


class UnknownKind(JobError):
    """No kind of this name is registered."""


class NoParams(StrictSerializer):
    """The params of a kind that takes none."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known about one kind of job; job() says what each field means. timeout: seconds an attempt may take."""

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

    @property
    def description(self) -> str:
        """The first paragraph of the handler's docstring, on one line."""
        return " ".join((inspect.getdoc(self.handler) or "").split("\n\n")[0].split())

    @property
    def pool(self) -> str:
        """The pool of threads that runs it (jobs/models/claiming.py); none if a main thread does."""
        return self.name if self.threads else ""

    def checked(self, params: object) -> object:
        """Params as they may be stored, plain JSON; raises rest_framework.serializers.ValidationError."""
        try:
            stored = json_value(params)
        except NotStorable as error:
            raise ValidationError(f"This {error}.", "unstorable") from None
        self.arguments(stored)
        return stored

    def arguments(self, params: object) -> dict[str, Any]:
        """Stored params as the handler's keyword arguments: dates are dates, absent optional ones are left out.

        Raises rest_framework.serializers.ValidationError.
        """
        if params == {} and self.params is NoParams:
            return {}
        serializer = self.params(data=params)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


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
) -> Callable[[Handler], Handler]:
    """Register a function as a kind of job: it is called as handler(run, **params) and returns JSON or nothing.

    timeout: seconds an attempt may take. queue: the name that `qcluster --queue` serves. threads: for kinds that mostly
    wait for others, how many jobs of this kind one I/O worker process may run at once (settings.IO_WORKERS); with 0 a
    worker process runs one job at a time (settings.WORKERS).
    internal: it is submitted by our own code only; to clients there is no such kind. reads: "replica" keeps the reads
    of a handler off the primary (jobs/worker/replica_reads.py). on_cancel: called with the job's id when the job is
    cancelled or told to stop, in the same transaction.
    """

    def register(handler: Handler) -> Handler:
        if name in _kinds:
            raise JobError(f"Two kinds of job are called {name!r}: {_kinds[name].handler} and {handler}.")
        if not QUEUE_NAME.fullmatch(queue):
            raise JobError(f"The queue of {name} is called {queue!r}; it must be {IN_WORDS}.")
        _kinds[name] = Kind(
            name, handler, params, timeout, retry or exponential(), queue, threads, internal, reads, on_cancel
        )
        return handler

    return register


def minutes(count: float) -> int:
    """A duration in seconds, as it reads in a kind's @job line."""
    return round(count * 60)


def find(name: str) -> Kind:
    """The kind of this name; raises UnknownKind."""
    try:
        return _kinds[name]
    except KeyError:
        raise UnknownKind(name) from None


def kinds() -> Iterator[Kind]:
    """All kinds, by name."""
    return iter(sorted(_kinds.values(), key=lambda kind: kind.name))
