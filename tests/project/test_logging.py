"""What a line of log looks like, and what never gets into one."""

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from project.logging import logging_config


@pytest.fixture(autouse=True)
def _restored(settings: Any) -> Iterator[None]:
    ours = structlog.get_config()
    yield
    structlog.configure(**ours)
    logging.config.dictConfig(settings.LOGGING)


def written(as_json: bool, stream: io.StringIO) -> None:
    config = logging_config(as_json, "info")
    config["handlers"]["stderr"]["stream"] = stream
    logging.config.dictConfig(config)


def lines(stream: io.StringIO, *loggers: str) -> list[dict[str, Any]]:
    """Those of these loggers: a thread that an earlier test has left behind may say something, too."""
    return [line for line in map(json.loads, stream.getvalue().splitlines()) if line["logger"] in loggers]


def test_our_lines_and_the_libraries_have_the_same_fields() -> None:
    written(True, stream := io.StringIO())
    with structlog.contextvars.bound_contextvars(request_id="r", job_id="j"):
        structlog.get_logger("ours").info("claimed", attempt=2)
        logging.getLogger("django-q").warning("worker %s died", 7, extra={"request": "secret"})
    ours, theirs = lines(stream, "ours", "django-q")
    assert (ours["event"], ours["attempt"], theirs["event"]) == ("claimed", 2, "worker 7 died")
    for line in (ours, theirs):
        assert {"timestamp", "level", "logger", "request_id", "job_id"} <= set(line)
    assert "secret" not in stream.getvalue()


def test_a_traceback_is_one_line_of_json_and_readable_on_a_console() -> None:
    for as_json in (True, False):
        written(as_json, stream := io.StringIO())
        try:
            raise RuntimeError("told")
        except RuntimeError:
            password = "hunter2"
            structlog.get_logger("ours").exception("failed", hidden=bool(password))
        assert "RuntimeError: told" in stream.getvalue()
        assert "hunter2" not in stream.getvalue().replace('password = "hunter2"', "")
        assert "Traceback" in stream.getvalue()
        if as_json:
            assert len(lines(stream, "ours")) == 1
        else:
            assert "\n    raise RuntimeError" in stream.getvalue()


def test_a_request_is_one_line_without_query_or_address() -> None:
    written(True, stream := io.StringIO())
    Client().get("/api/v1/mail/suppressions/ada@example.org/?secret=1", headers={"X-Request-ID": "mine"})
    [line] = lines(stream, "project.middleware")
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/v1/mail/suppressions/…/", 401)
    assert (line["request_id"], line["user_id"]) == ("mine", None)
    assert line["duration_ms"] >= 0
    assert "secret" not in stream.getvalue()


def test_an_unknown_level_is_refused_in_a_sentence() -> None:
    with pytest.raises(ImproperlyConfigured, match="LOG_LEVEL must be one of"):
        logging_config(True, "loud")
