"""What a web process repeats beside its requests."""

import pytest
from django.db import connections

from rest import background


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_it_is_called_again_and_again_and_keeps_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def function() -> None:
        steps.append("called")
        if len(steps) == 5:
            raise SystemExit  # ends the thread

    monkeypatch.setattr(connections, "close_all", lambda: steps.append("connections closed"))
    background.repeat(function, every=0.001, name="of a test").join(60)
    assert steps == ["called", "connections closed", "called", "connections closed", "called"]
