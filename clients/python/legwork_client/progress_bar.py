"""One line that shows how far a job is; on a terminal it is drawn over itself."""

from typing import TextIO

from legwork_client.types import Job

WIDTH = 30


class ProgressBar:
    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._over_itself = output.isatty()
        self._last = ""

    def show(self, job: Job) -> None:
        line = bar(job)
        if line != self._last:
            self._output.write(f"\r\x1b[K{line}" if self._over_itself else f"{line}\n")
            self._output.flush()
            self._last = line

    def close(self) -> None:
        if self._over_itself and self._last:
            self._output.write("\n")


def bar(job: Job) -> str:
    percent, message = job["progress"]["percent"], job["progress"]["message"]
    full = round(WIDTH * percent / 100)
    return f"{job['status']:<9} [{'#' * full}{'.' * (WIDTH - full)}] {percent:3.0f} % {message}".rstrip()
