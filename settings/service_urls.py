"""Validates BROKER_URL and CACHE_URL, so that an error stops the start instead of the first POST."""

import re
from collections.abc import Callable, Mapping
from os.path import isfile
from urllib.parse import SplitResult, parse_qsl, urlsplit

from django.core.exceptions import ImproperlyConfigured

HOST = re.compile(r"[\w.:%-]+")
REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
SQS_QUEUE = re.compile(r"[A-Za-z0-9_-]{1,80}")
"""Amazon SQS, CreateQueue, QueueName."""
DATABASE = re.compile(r"/?[0-9]{0,4}")

Options = Mapping[str, Callable[[str], object]]
"""The options that a URL may have after the question mark, each with a check of its value."""

NO_OPTIONS: Options = {}
TLS: Options = {
    "ssl_ca_certs": isfile,
    "ssl_certfile": isfile,
    "ssl_keyfile": isfile,
    "ssl_cert_reqs": ("none", "optional", "required").__contains__,
    "ssl_check_hostname": ("true", "false").__contains__,
}


SECONDS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")
TIMEOUTS: Options = {"socket_timeout": SECONDS.fullmatch, "socket_connect_timeout": SECONDS.fullmatch}


def is_redis(url: str) -> bool:
    return url.startswith(("redis:", "rediss:"))


def redis(name: str, url: str, more: Options = NO_OPTIONS) -> str:
    """Returns a valid redis://user:password@host:6379/0 or, with TLS options, rediss://… unchanged. more: options."""
    parts = _split(name, url)
    _require(_has_host(parts), name, "must name a host: redis://host:6379/0")
    _require(DATABASE.fullmatch(parts.path), name, "may end with a database number: redis://host:6379/0")
    _options(name, parts, {**more, **(TLS if parts.scheme == "rediss" else NO_OPTIONS)})
    return url


def sqs(name: str, url: str) -> dict[str, str | None]:
    """The region, queue and endpoint of sqs://REGION/QUEUE?endpoint=https://…"""
    parts = _split(name, url)
    region, queue = parts.netloc, parts.path.strip("/")
    _require(region and queue, name, "must name a region and a queue: sqs://REGION/QUEUE")
    _require(REGION.fullmatch(region), name, f"has an invalid region: {region!r}")
    _require(not queue.endswith(".fifo"), name, "must name a standard queue, not a FIFO queue")
    _require(SQS_QUEUE.fullmatch(queue), name, "must name a queue of at most 80 letters, digits, hyphens, underscores")
    options = _options(name, parts, {"endpoint": _is_http_url})
    return {"region": region, "queue": queue, "endpoint": options.get("endpoint")}


def _split(name: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _require(parts.port != 0 and not parts.fragment, name, "must have a port above 0 and no #")
    except ValueError:
        raise ImproperlyConfigured(f"{name} must have a valid host and port.") from None
    return parts


def _has_host(parts: SplitResult) -> bool:
    return bool(HOST.fullmatch(parts.hostname or ""))


def _options(name: str, parts: SplitResult, allowed: Options) -> dict[str, str]:
    found: dict[str, str] = {}
    for option, value in parse_qsl(parts.query, keep_blank_values=True):
        choices = f"only {', '.join(allowed)} (each once)" if allowed else "no options"
        _require(option in allowed and option not in found, name, f"may have {choices} after the ?, not {option}")
        _require(allowed[option](value), name, f"has an invalid {option}: {value!r}")
        found[option] = value
    return found


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and _has_host(parts) and parts.port != 0 and not parts.query
    except ValueError:
        return False


def _require(condition: object, name: str, rule: str) -> None:
    if not condition:
        raise ImproperlyConfigured(f"{name} {rule}.")
