"""Run: what a handler sees of the attempt it is working for."""

import io
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self, TextIO
from uuid import UUID

from jobs.errors import PermanentError
from jobs.filename import content_type_of, safe_filename
from jobs.models import Job
from jobs.models.outputs import Output
from jobs.worker.interrupt import Interruptible, Wake
from rest.json_value import plain_text
from routers import use_primary


class Run:
    """One attempt at a job. job_id: the job's UUID. user_id: whose it is, None for the project's own. attempt: 1 for
    the first.

    What it writes goes to the primary and leaves the handler's own reads where they are.
    """

    def __init__(self, job: Job, thread: Interruptible | None = None) -> None:
        self._job = job
        self._thread = thread
        self._output: Output | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error:
            self._discard_output()

    @property
    def job_id(self) -> UUID:
        return self._job.pk

    @property
    def user_id(self) -> int | None:
        return self._job.user_id

    @property
    def attempt(self) -> int:
        return self._job.attempt

    @property
    def timeout(self) -> float:
        """Seconds that the attempt may take in all."""
        return self._job.timeout

    def on_interruption(self, wake: Wake) -> AbstractContextManager[None]:
        """In the block an interruption also calls this, from another thread, to end what the handler waits for.

        For kinds with threads: a socket that is read cannot be interrupted, but it can be shut down. Must be quick, and
        bear to be called twice, or just after the block.
        """
        return self._thread.on_interruption(wake) if self._thread else nullcontext()

    def progress(self, percent: float, message: str = "") -> None:
        """Show how far the work has come: percent from 0 to 100, message at most 200 characters.

        It costs next to nothing and takes no part in the handler's transactions: the worker's heartbeat writes it.
        """
        if not math.isfinite(percent):
            raise PermanentError(f"{percent} is not a percentage")
        percent = round(min(max(percent, 0), 100), 1)
        self._job.progress = {"percent": percent, "message": plain_text(message)[:200]}

    @contextmanager
    def output(self, filename: str, content_type: str = "") -> Iterator[IO[bytes]]:
        """A file to write to: stored at the end of the block, and the job's output if the attempt succeeds.

        filename: what it is called when it is downloaded. content_type: by the name's ending when left out. A job has
        one output.
        """
        if self._output:
            raise PermanentError("a job has one output, and this one has it already")
        name = safe_filename(filename)
        content_type = content_type_of(name, content_type)
        with TemporaryFile() as file:
            yield file
            file.flush()
            with use_primary():
                self._store(name, content_type, file)

    @contextmanager
    def text_output(self, filename: str, content_type: str = "") -> Iterator[TextIO]:
        """As output(), for text: it is written as UTF-8, with its line ends as they are."""
        content_type = content_type_of(safe_filename(filename), content_type)
        if content_type.startswith("text/") and "charset" not in content_type:
            content_type += "; charset=utf-8"
        with self.output(filename, content_type) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
            try:
                yield text
            finally:
                text.detach()

    def _store(self, filename: str, content_type: str, file: IO[bytes]) -> None:
        job = self._job
        self._output = Output(
            job_id=job.pk, attempt=job.attempt, worker=job.worker, filename=filename, content_type=content_type
        )
        try:
            self._output.store(file)
        except BaseException:
            self._discard_output()
            raise

    def _discard_output(self) -> None:
        """At once, if it can be done now; what is left is thrown away by an hourly chore (jobs/maintenance.py)."""
        with use_primary():
            if self._output and self._output.discarded():
                self._output = None
