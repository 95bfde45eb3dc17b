"""Runs Python code with a stack's settings in one process, where a `manage.py shell` for each call would be slow."""

import contextlib
import io
import json
import subprocess
import sys
import traceback
from collections.abc import Mapping

from demo.stack import ROOT


class Shell:
    """run() executes code in the process; stop() ends it. Not for several threads at once."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._process: subprocess.Popen[str] | None = None

    def run(self, code: str) -> str:
        """Run the code; returns what it printed. Its names do not outlive the call. AssertionError if it raises."""
        if self._process is None:
            command = [sys.executable, "-m", __name__]
            self._process = subprocess.Popen(
                command, env=dict(self._env), cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(code), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the shell ended at: {code}"
        printed, error = json.loads(answer)
        assert error is None, error
        return str(printed)

    def stop(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None


def _serve() -> None:
    import django

    django.setup()
    from django.db import close_old_connections

    answers = sys.stdout
    for line in sys.stdin:
        error = None
        close_old_connections()
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                exec(json.loads(line), {})  # noqa: S102 the code is a test's
            except Exception:
                error = traceback.format_exc()
        print(json.dumps([printed.getvalue(), error]), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
