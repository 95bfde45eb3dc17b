"""What a line of log looks like, and what never gets into one."""

import io
import json
import logging
import logging.config
import logging.handlers
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from jobs.models.states import Status
from project.logging import LineHandler, logging_config
from rest.log_batch import info_each
from tests.support.asgi_requests import ask


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
    """The lines of these loggers: a thread of an earlier test may log as well."""
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


@pytest.mark.parametrize(
    ("setting", "address", "logged"),
    [
        ("full", "203.0.113.77", "203.0.113.77"),
        ("masked", "203.0.113.77", "203.0.113.0"),
        ("masked", "2001:db8:1:2::3", "2001:db8:1::"),
        ("masked", "no address", None),
        ("off", "203.0.113.77", None),
    ],
)
def test_the_clients_address_is_logged_as_the_setting_says(
    settings: Any, setting: str, address: str, logged: str | None
) -> None:
    settings.LOG_CLIENT_ADDRESS = setting
    written(True, stream := io.StringIO())
    Client().get("/api/v1/jobs/", REMOTE_ADDR=address)
    ask("POST", "/api/v1/jobs/", [("content-length", str(2**30))], client=(address, 1))
    assert [line["client"] for line in lines(stream, "project.middleware")] == [logged] * 2


def test_a_path_is_logged_up_to_a_bound_and_without_secrets() -> None:
    written(True, stream := io.StringIO())
    Client().get("/unsubscribe/secret-of-a-recipient/")
    Client().get("/" + "x" * 5000)
    unsubscribed, long = lines(stream, "project.middleware")
    assert unsubscribed["path"] == "/unsubscribe/…/"
    assert len(long["path"]) <= 300


def test_an_unknown_level_is_refused_in_a_sentence() -> None:
    with pytest.raises(ImproperlyConfigured, match="LOG_LEVEL must be one of"):
        logging_config(True, "loud")


@pytest.mark.parametrize("beside", [[], [logging.NullHandler()]])
@pytest.mark.parametrize(
    "value", [7, 2**70, "ada", "\ud800", UUID(int=1), Status.QUEUED, None, {"a": [1]}, {1: 2}, {3}]
)
def test_lines_are_the_same_with_and_without_the_standard_library(
    value: object, beside: list[logging.Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(True, stream := io.StringIO())
    ours = next(handler for handler in logging.root.handlers if isinstance(handler, LineHandler))
    monkeypatch.setattr(logging.root, "handlers", [ours, *beside])
    log = structlog.get_logger("ours")
    for write in (log.info, log.warning):
        write("told", value=value)
    info, warning = lines(stream, "ours")
    del info["timestamp"], warning["timestamp"]
    assert info | {"level": "warning"} == warning
    assert info["event"] == "told"
    assert "value" in info


def test_a_handler_of_a_project_gets_every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    written(True, stream := io.StringIO())
    ours = next(handler for handler in logging.root.handlers if isinstance(handler, LineHandler))
    monkeypatch.setattr(logging.root, "handlers", [ours])
    theirs = logging.handlers.BufferingHandler(capacity=10)
    monkeypatch.setattr(logging.getLogger("ours"), "handlers", [theirs])
    structlog.get_logger("ours.below").info("told")
    assert len(theirs.buffer) == 1
    assert len(lines(stream, "ours.below")) == 1


def test_logging_to_a_closed_stream_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    written(True, stream := io.StringIO())
    ours = next(handler for handler in logging.root.handlers if isinstance(handler, LineHandler))
    monkeypatch.setattr(logging.root, "handlers", [ours])
    stream.close()
    structlog.get_logger("ours").info("told")


def test_what_is_below_the_level_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written(True, stream := io.StringIO())
    ours = next(handler for handler in logging.root.handlers if isinstance(handler, LineHandler))
    monkeypatch.setattr(logging.root, "handlers", [ours])
    structlog.get_logger("ours").debug("whispered")
    assert lines(stream, "ours") == []


@pytest.mark.parametrize("beside", [[], [logging.NullHandler()]])
def test_many_lines_of_one_event_look_as_if_each_had_been_logged(
    beside: list[logging.Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(True, stream := io.StringIO())
    ours = next(handler for handler in logging.root.handlers if isinstance(handler, LineHandler))
    monkeypatch.setattr(logging.root, "handlers", [ours, *beside])
    log = structlog.get_logger("ours")
    with structlog.contextvars.bound_contextvars(request_id="r", worker="here:1"):
        info_each(log, "told", [{"number": 1}, {"number": 2**70, "request_id": "its own"}])
        log.info("told", number=1)
        log.info("told", number=2**70, request_id="its own")
    first, second, *one_by_one = lines(stream, "ours")
    for line in (first, second, *one_by_one):
        assert line.pop("timestamp")
    assert [first, second] == one_by_one


def test_many_lines_on_a_console_are_lines() -> None:
    written(False, stream := io.StringIO())
    info_each(structlog.get_logger("ours"), "told", [{"number": 1}, {"number": 2}])
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["number=1", "number=2"]


def test_many_lines_below_the_level_are_not_written() -> None:
    config = logging_config(True, "warning")
    config["handlers"]["stderr"]["stream"] = (stream := io.StringIO())
    logging.config.dictConfig(config)
    info_each(structlog.get_logger("ours"), "told", [{"number": 1}])
    assert lines(stream, "ours") == []
