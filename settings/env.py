"""Typed readers of environment variables; nothing else reads them. An invalid value stops the start."""

import re
import warnings
from collections.abc import Callable
from datetime import date
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured

from settings import service_urls

Value = TypeVar("Value")

BASE_DIR = Path(__file__).resolve().parent.parent
MISSING = object()

BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

UNITS = {"s": 1, "min": 60, "h": 3600, "day": 86_400}
"""Seconds."""

_env = environ.Env()

BACKEND = "anymail.backends.{}.EmailBackend"
MAILGUN = BACKEND.format("mailgun")


def defaults(**values: str) -> None:
    """Default values of variables that are not set."""
    for name, value in values.items():
        _env.ENVIRON.setdefault(name, value)


DEVELOPMENT = {
    "SECRET_KEY": "development-only-and-therefore-not-secret-at-all-0123456789",
    "MAILGUN_API_KEY": "key-of-the-simulator",
    "MAILGUN_WEBHOOK_SIGNING_KEY": "signing-key-of-the-simulator",
}
"""The secrets of development, which everybody can read here."""
LONG_ENOUGH, VARIED_ENOUGH = 50, 15
"""Characters of a secret key, and different ones among them."""


def secret_key(name: str, value: str) -> str:
    """The value, if nobody can guess it."""
    if value in DEVELOPMENT.values() or "development-only" in value or "tests-only" in value:
        raise ImproperlyConfigured(f"{name} is a key of development, which everybody knows; {MAKE_A_KEY}.")
    if len(value) < LONG_ENOUGH or len(set(value)) < VARIED_ENOUGH:
        rule = f"at least {LONG_ENOUGH} characters, {VARIED_ENOUGH} different ones among them"
        raise ImproperlyConfigured(f"{name} must have {rule}; {MAKE_A_KEY}.")
    return value


MAKE_A_KEY = "make one with `openssl rand -base64 48`"


def refuse_values_of_development() -> None:
    for name, value in DEVELOPMENT.items():
        if _env.ENVIRON.get(name) == value:
            raise ImproperlyConfigured(f"{name} is that of development, which everybody knows; set your own.")


def require_loopback(arguments: list[str]) -> None:
    """Raises if these arguments of uvicorn or runserver name an address that other machines reach."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        host = following if argument == "--host" else argument.removeprefix("--host=")
        if argument == "runserver":
            host = following.rpartition(":")[0] if not following.startswith("-") else ""
        if (argument in ("--host", "runserver") or host != argument) and host and not is_loopback(host):
            raise ImproperlyConfigured(
                f"{host} can be reached from other machines, and development has no secrets: use 127.0.0.1, or "
                "DJANGO_SETTINGS_MODULE=settings.production."
            )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def text(name: str, default: Any = MISSING) -> str:
    value: str = _read(_env.str, name, default, "a text")
    return value


def integer(name: str, default: Any = MISSING, *, minimum: int = 0) -> int:
    value: int = _read(_env.int, name, default, "a whole number")
    if value < minimum:
        raise ImproperlyConfigured(f"{name} is {value}; it must be {minimum} or more.")
    return value


def number(name: str, default: Any = MISSING, *, minimum: float = 0.0) -> float:
    value: float = _read(_env.float, name, default, "a number")
    if not value >= minimum:
        raise ImproperlyConfigured(f"{name} is {value:g}; it must be {minimum:g} or more.")
    return value


def boolean(name: str, default: Any = MISSING) -> bool:
    return _read(_strict_boolean, name, default, "one of 1, 0, true, false, yes, no, on, off")


def texts(name: str, default: Any = MISSING) -> list[str]:
    """A comma-separated list, stripped of blanks and empty items."""
    return [item.strip() for item in _read(_env.list, name, default, "a comma-separated list") if item.strip()]


def texts_without(refused: str, name: str, why: str, default: Any = MISSING) -> list[str]:
    """texts(), of which none may be this one. why: a clause about what it would mean."""
    found = texts(name, default)
    if refused in found:
        raise ImproperlyConfigured(f"{name} may not contain {refused}: {why}.")
    return found


def choice(name: str, default: Any, choices: tuple[str, ...]) -> str:
    value = text(name, default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}.")
    return value


def integers(name: str, default: Any = MISSING) -> list[int]:
    """A comma-separated list of whole numbers."""
    items = texts(name, default)
    if not all(re.fullmatch("[0-9]{1,9}", item) for item in items):
        raise ImproperlyConfigured(f"{name} must be a comma-separated list of whole numbers.")
    return [int(item) for item in items]


def database(name: str, default: Any = MISSING) -> dict[str, Any]:
    """A database URL as a Django DATABASES entry: postgres://user:password@host:port/name or sqlite:///path."""
    with warnings.catch_warnings():
        # django-environ only warns of an unknown scheme; it is refused below.
        warnings.simplefilter("ignore", UserWarning)
        url = _read(_env.db_url, name, default, "a database URL such as postgres://user:password@host:5432/name")
    config = _with_strict_boolean(name, dict(url))
    engine = config.get("ENGINE")
    if engine == DJANGOS_POSTGRESQL:
        return POSTGRESQL | config | {"ENGINE": OUR_POSTGRESQL, "OPTIONS": NETWORK | config.get("OPTIONS", {})}
    if engine == "django.db.backends.sqlite3":
        return config | {"NAME": _absolute_path(config["NAME"]), "OPTIONS": SQLITE | config.get("OPTIONS", {})}
    raise ImproperlyConfigured(
        f"{name} must be a postgres:// or sqlite:/// URL; the queue needs one of these databases."
    )


def replicas(name: str) -> dict[str, dict[str, Any]]:
    """A comma-separated list of PostgreSQL URLs, as DATABASES entries replica1, replica2, …"""
    found = {}
    for number, url in enumerate(texts(name, []), 1):
        found[f"replica{number}"] = _replica(name, url)
    return found


def cache(name: str, default: Any = MISSING) -> dict[str, Any]:
    """A cache URL as a Django CACHES entry: locmem:// (one process only), redis://host:6379/1 or rediss://…"""
    url = text(name, default)
    if url == "locmem://":
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 100_000}}
    if service_urls.is_redis(url):
        # Short, because everything works without the cache: waiting for it would be worse.
        options = {"socket_timeout": 1, "socket_connect_timeout": 1}
        location = service_urls.redis(name, url, service_urls.TIMEOUTS)
        return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location, "OPTIONS": options}
    raise ImproperlyConfigured(f"{name} must be a redis:// or rediss:// URL with a host, or locmem://.")


def broker(name: str, default: Any = MISSING) -> dict[str, Any]:
    """A broker URL as {"url", "class"} and, for SQS, {"region", "queue", "endpoint"}.

    orm:// (the database), redis://host:6379/0, rediss://…, or sqs://REGION/QUEUE?endpoint=https://…
    """
    url = text(name, default)
    if url == "orm://":
        return {"url": url, "class": "jobs.brokers.orm.ORM"}
    if service_urls.is_redis(url):
        return {"url": service_urls.redis(name, url), "class": "jobs.brokers.redis.Redis"}
    if url.startswith("sqs:"):
        return {"url": url, "class": "jobs.brokers.sqs.SQS", **service_urls.sqs(name, url)}
    raise ImproperlyConfigured(f"{name} must be orm://, or begin with redis://, rediss:// or sqs://.")


def providers(name: str, default: Any = MISSING) -> list[dict[str, Any]]:
    """Mail providers in order: [{"name", "backend", "options"}].

    Each item is an Anymail backend (mailgun, sendgrid, …) or NAME=BACKEND. All variables that begin with its name are
    its options: MAILGUN_API_KEY is the api_key of mailgun, BACKUP_API_KEY that of backup=mailgun.
    """
    found = [_provider(name, item) for item in texts(name, default)]
    names = [provider["name"] for provider in found]
    if not found or len(set(names)) < len(names):
        raise ImproperlyConfigured(f"{name} must name at least one provider, and none twice.")
    for provider in found:
        _require_domain_of_second_account(name, provider)
    return found


def rates(name: str, default: Any = MISSING) -> dict[str, tuple[int, int]]:
    """A comma-separated list such as mailgun=100/s,gmail.com=600/min: by name a count and its period in seconds."""
    return _pairs(name, default, _rate, "mailgun=100/s, with /s, /min, /h or /day")


def days(name: str, default: Any = MISSING) -> dict[str, date]:
    """A comma-separated list such as mailgun=2026-03-01: by name a day."""
    return _pairs(name, default, date.fromisoformat, "mailgun=2026-03-01")


def _pairs(name: str, default: Any, reader: Callable[[str], Value], expected: str) -> dict[str, Value]:
    pairs = [item.partition("=") for item in texts(name, default)]
    try:
        found = {key.strip().lower(): reader(value.strip()) for key, _, value in pairs}
    except ValueError:
        found = {}
    if len(found) < len(pairs) or "" in found:
        raise ImproperlyConfigured(f"{name} must be a comma-separated list of items such as {expected}, none twice.")
    return found


def _rate(text: str) -> tuple[int, int]:
    count, _, unit = text.partition("/")
    if not re.fullmatch("[1-9][0-9]{0,8}", count) or unit not in UNITS:
        raise ValueError(text)
    return int(count), UNITS[unit]


def _provider(variable: str, item: str) -> dict[str, Any]:
    name, _, backend = item.partition("=")
    backend = backend or name
    if not all(map(re.compile("[a-z][a-z0-9_]*").fullmatch, (name, backend))):
        raise ImproperlyConfigured(f"{variable} must be a list of backends such as mailgun, or NAME=BACKEND: {item!r}.")
    prefix = f"{name.upper()}_"
    options = {key[len(prefix) :].lower(): value for key, value in _env.ENVIRON.items() if key.startswith(prefix)}
    return {"name": name, "backend": BACKEND.format(backend), "options": options}


def _require_domain_of_second_account(variable: str, provider: dict[str, Any]) -> None:
    """Its webhooks are believed only for the domain that its mail was sent from."""
    name = provider["name"]
    if provider["backend"] == MAILGUN and name != "mailgun" and not provider["options"].get("sender_domain"):
        raise ImproperlyConfigured(f"{variable} names {name}=mailgun, and {name.upper()}_SENDER_DOMAIN is not set.")


def _replica(name: str, url: str) -> dict[str, Any]:
    try:
        config = dict(_env.db_url_config(url))
    except (ValueError, KeyError, TypeError, AttributeError):
        config = {}
    if config.get("ENGINE") != DJANGOS_POSTGRESQL:
        raise ImproperlyConfigured(f"{name} must be a comma-separated list of postgres:// URLs.")
    config = _with_strict_boolean(name, config)
    # A short timeout: the primary can answer instead. Read-only, so that even a promoted replica refuses writes.
    options = NETWORK | {"connect_timeout": 2, "options": "-c default_transaction_read_only=on"}
    options |= config.get("OPTIONS", {})
    return POSTGRESQL | config | {"ENGINE": OUR_POSTGRESQL, "OPTIONS": options, "TEST": {"MIRROR": "default"}}


def _with_strict_boolean(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """django-environ keeps `true` and `false` in a URL as texts, and Django treats both as true."""
    word = str(config.get(NO_SERVER_SIDE_CURSORS, False)).lower()
    if word not in BOOLEANS:
        raise ImproperlyConfigured(f"{name} may end with ?disable_server_side_cursors=true or =false, not ={word}.")
    if NO_SERVER_SIDE_CURSORS in config and not BOOLEANS[word]:
        config |= {"SESSIONS_ARE_OURS": True}  # rest/pooler.py
    return config | {NO_SERVER_SIDE_CURSORS: BOOLEANS[word]}


NO_SERVER_SIDE_CURSORS = "DISABLE_SERVER_SIDE_CURSORS"
"""Django's setting, needed with poolers such as PgBouncer that give each transaction another session."""

DJANGOS_POSTGRESQL, OUR_POSTGRESQL = "django.db.backends.postgresql", "project.postgresql"

POSTGRESQL = {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
"""Threads keep their connections; a dead connection is replaced before it is used."""

NETWORK = {
    "connect_timeout": 2,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A silently dropped connection fails within 11 s (values in seconds, the last one in milliseconds).

A worker's lease is 30 s and is renewed every 3 s. Worst case: the connection is dropped just after a renewal. The next
one is sent 3 s later. It fails after 10 s if nothing acknowledges it (tcp_user_timeout), or after 11 s if it was
acknowledged and the answer is lost (keepalives after 5, 7, 9 and 11 s). Within 0.25 s the heartbeat tries again, and a
new connection takes at most 2 s. That makes 16.25 s, which leaves time for several more tries.
"""

SQLITE = {"transaction_mode": "IMMEDIATE", "timeout": 30, "init_command": "PRAGMA journal_mode=WAL;"}
"""Readers never wait for the writer. Writers queue for the lock instead of failing when they upgrade to it."""


def _read(reader: Callable[..., Value], name: str, default: Any, expected: str) -> Value:
    try:
        return reader(name) if default is MISSING else reader(name, default=default)
    except environ.ImproperlyConfigured:
        raise ImproperlyConfigured(f"{name} is not set; it must be {expected}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ImproperlyConfigured(f"{name} must be {expected}.") from None


def _strict_boolean(name: str, **options: Any) -> bool:
    word = _env.str(name, **options)
    if isinstance(word, bool):
        return word
    return BOOLEANS[word.strip().lower()]


def _absolute_path(name: str) -> str:
    return name if name == ":memory:" else str(BASE_DIR / name)
