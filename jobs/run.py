"""Run: the first argument of every handler, through which it reports progress and stores its output."""

import io
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self, TextIO
from uuid import UUID

from django.conf import settings

from jobs.errors import PermanentError
from jobs.filename import content_type_of, safe_filename
from jobs.models import Job
from jobs.models.outputs import Output
from jobs.worker.attempts.interrupt import Interruptible, Wake
from rest.json_value import clean_text
from routers import use_primary


class Run:
    """One attempt at a job. user_id: the owner, None for the project's own jobs. attempt: 1 for the first.

    Its writes go to the primary, without changing where the handler's own reads go.
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
        """Seconds that the whole attempt may take."""
        return self._job.timeout

    def on_interruption(self, wake: Wake) -> AbstractContextManager[None]:
        """While in the block, an interruption also calls `wake` from another thread, to end a blocking call.

        For kinds with threads: a blocking read of a socket cannot be interrupted, but the socket can be shut down.
        `wake` must be quick, and safe to call twice or just after the block.
        """
        return self._thread.on_interruption(wake) if self._thread else nullcontext()

    def progress(self, percent: float, message: str = "") -> None:
        """Report progress: percent from 0 to 100, message of at most 200 characters.

        Cheap, and independent of the handler's transactions: the heartbeat or the job's outcome writes it.
        """
        if not math.isfinite(percent):
            raise PermanentError(f"{percent} is not a percentage")
        percent = round(min(max(percent, 0), 100), 1)
        self._job.progress = {"percent": percent, "message": clean_text(message)[:200]}

    @contextmanager
    def output(self, filename: str, content_type: str = "") -> Iterator[IO[bytes]]:
        """A file to write to. Stored at the end of the block; the job's output if the attempt succeeds.

        filename: the name of the download. content_type: guessed from filename if empty. A job has at most one output.
        """
        if self._output:
            raise PermanentError("a job can have only one output, and this job already has one")
        name = safe_filename(filename)
        content_type = content_type_of(name, content_type)
        with TemporaryFile() as file:
            yield file
            file.flush()
            with use_primary():
                self._require_room(file.seek(0, 2))
                self._store(name, content_type, file)

    @contextmanager
    def text_output(self, filename: str, content_type: str = "") -> Iterator[TextIO]:
        """output() for text: written as UTF-8, without translating line ends."""
        content_type = content_type_of(safe_filename(filename), content_type)
        if content_type.startswith("text/") and "charset" not in content_type:
            content_type += "; charset=utf-8"
        with self.output(filename, content_type) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
            try:
                yield text
            finally:
                text.detach()

    def _require_room(self, size: int) -> None:
        if self.user_id is not None and Output.objects.bytes_of(self.user_id) + size > settings.MAX_OUTPUT_BYTES:
            raise PermanentError("the files of your jobs have as many bytes as allowed; delete finished jobs")

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
        """Try once; an hourly maintenance task deletes what is left (jobs/maintenance.py)."""
        with use_primary():
            if self._output and self._output.try_discard():
                self._output = None
