"""The format of all log lines, ours and the libraries': JSON in production, columns in development. To stderr.

Each job logs a line, which takes the standard library four times as long as structlog with orjson. So our JSON lines
below WARNING are written by `write_line`. All others go through the standard library, to Sentry and any handler.
"""

import logging
import sys
from typing import Any, TextIO

import orjson
import structlog
from django.core.exceptions import ImproperlyConfigured
from structlog.typing import EventDict, Processor

from rest.log_batch import EACH

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# Django adds the whole request to its records, whose query may hold personal data, so only these fields are kept.
EXTRA_FIELDS = ("status_code", "job_id", "attempt", "status")

QUIET = ("debug", "info")
"""Methods of a logger."""

_orjson = structlog.processors.JSONRenderer(serializer=orjson.dumps)
_json = structlog.processors.JSONRenderer()

FIELDS: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
RARE: list[Processor] = [structlog.stdlib.PositionalArgumentsFormatter(), structlog.processors.StackInfoRenderer()]
FOR_RARE = {"exc_info", "stack_info", "positional_args"}
"""Keys of an event that the processors in RARE and the standard library's formatter look for."""


def logging_config(json: bool, level: str) -> dict[str, Any]:
    """Django's LOGGING. Also connects structlog to the standard library, so that all loggers share one handler."""
    level = level.strip().upper()
    if level not in LEVELS:
        raise ImproperlyConfigured(f"LOG_LEVEL must be one of {', '.join(LEVELS)}.")
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *FIELDS,
            *([write_line] if json else []),
            one_by_one,
            *RARE,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"fields": _formatter(json)},
        "handlers": {"stderr": {"()": LineHandler, "formatter": "fields"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": _libraries(),
    }


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes records that the standard library formats, and lines that write_line has formatted."""

    def is_alone(self, logger: logging.Logger) -> bool:
        """Whether this logger's records go to this handler only, and nothing between them may drop or change one."""
        source, handlers = logger, [*logger.handlers]
        while source.propagate and source.parent:
            source = source.parent
            handlers += source.handlers
        return handlers == [self] and not (logger.filters or self.filters or self.level)

    def write(self, line: str) -> None:
        self.acquire()
        try:
            self.stream.write(f"{line}{self.terminator}")
            self.stream.flush()
        except (OSError, ValueError):
            pass  # stderr is closed or nobody reads it; as with other records, the caller must not fail
        finally:
            self.release()


def write_line(logger: logging.Logger, method: str, event: EventDict) -> EventDict:
    """A processor: writes lines below WARNING, and drops the event. Others go on to the standard library."""
    if method not in QUIET or not FOR_RARE.isdisjoint(event):
        return event
    handler = next(iter(logging.root.handlers), None)
    if not isinstance(handler, LineHandler) or not handler.is_alone(logger):
        return event
    lines = [event | fields for fields in event.pop(EACH)] if EACH in event else [event]
    handler.write("\n".join(render_json(logger, method, line) for line in lines))
    raise structlog.DropEvent


def one_by_one(logger: logging.Logger, method: str, event: EventDict) -> EventDict:
    """A processor: the lines of info_each() that write_line has not written are logged by themselves."""
    if EACH not in event:
        return event
    log = structlog.get_logger(logger.name)
    for fields in event[EACH]:
        log.info(event["event"], **fields)
    raise structlog.DropEvent


def render_json(logger: logging.Logger, method: str, event: EventDict) -> str:
    try:
        line: Any = _orjson(logger, method, event)
        return str(line, "utf-8")
    except TypeError:  # such as an integer of more than 64 bits
        return str(_json(logger, method, event))


def _formatter(json: bool) -> dict[str, Any]:
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [*FIELDS, *RARE, structlog.stdlib.ExtraAdder(allow=EXTRA_FIELDS)],
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(json)],
    }


def _renderers(json: bool) -> list[Processor]:
    if json:
        return [structlog.processors.format_exc_info, render_json]
    # The default exception formatter prints local variables, including passwords.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _libraries() -> dict[str, Any]:
    """Libraries propagate to the root logger and have no handlers of their own."""
    ours: dict[str, Any] = {"handlers": [], "propagate": True}
    return {
        "django": {**ours, "level": logging.NOTSET},
        # The middleware already logs every 4xx response.
        "django.request": {**ours, "level": "ERROR"},
        "django.server": {**ours, "level": "ERROR"},
        "django-q": {**ours, "level": logging.NOTSET},
        "uvicorn": {**ours, "level": logging.NOTSET},
        "uvicorn.error": {**ours, "level": logging.NOTSET},
        # Replaced by the middleware's line; this one would print addresses and queries.
        "uvicorn.access": {"handlers": [], "propagate": False, "level": "CRITICAL"},
    }
