"""The format of all log lines, ours and the libraries': JSON in production, columns in development. To stderr."""

import logging
import sys
from typing import Any

import structlog
from django.core.exceptions import ImproperlyConfigured
from structlog.typing import Processor

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# Django adds the whole request to its records, whose query may hold personal data, so only these fields are kept.
EXTRA_FIELDS = ("status_code", "job_id", "attempt", "status")

SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def logging_config(json: bool, level: str) -> dict[str, Any]:
    """Django's LOGGING. Also connects structlog to the standard library, so that all loggers share one handler."""
    level = level.strip().upper()
    if level not in LEVELS:
        raise ImproperlyConfigured(f"LOG_LEVEL must be one of {', '.join(LEVELS)}.")
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"fields": _formatter(json)},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "fields"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": _libraries(),
    }


def _formatter(json: bool) -> dict[str, Any]:
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [*SHARED, structlog.stdlib.ExtraAdder(allow=EXTRA_FIELDS)],
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(json)],
    }


def _renderers(json: bool) -> list[Processor]:
    if json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
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
