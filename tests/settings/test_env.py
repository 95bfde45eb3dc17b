"""A wrong setting stops every program at once, with one sentence that names it."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest
from django.core.exceptions import ImproperlyConfigured

from demo.stack import ROOT
from settings import env

PROGRAMS = {
    "check": [sys.executable, "manage.py", "check"],
    "deployment check": [sys.executable, "manage.py", "check", "--deploy"],
    "strict deployment check": [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
    "web": [sys.executable, "-m", "uvicorn", "project.asgi:application", "--port", "1"],
    "worker": [sys.executable, "manage.py", "qcluster"],
}

UNSHARED_CACHE = "legwork.W001"

DEVELOPMENT = {"DJANGO_SETTINGS_MODULE": "settings.development"}
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "settings.production",
    "SECRET_KEY": "a-long-key-of-many-different-characters-0123456789-ABCDEF",
    "NUM_PROXIES": "1",
    "ALLOWED_HOSTS": "legwork.example.org",
    "DATABASE_URL": "sqlite:///:memory:",
}

WRONG = [
    (DEVELOPMENT, "DATABASE_URL", "nonsense"),
    (DEVELOPMENT, "DATABASE_URL", "mysql://root@127.0.0.1/legwork"),
    (DEVELOPMENT, "DATABASE_URL", "postgres://127.0.0.1:port/legwork"),
    (DEVELOPMENT, "WORKERS", "x"),
    (DEVELOPMENT, "WORKERS", "-1"),
    (DEVELOPMENT, "IO_WORKERS", "-1"),
    (DEVELOPMENT, "WEB_THREADS", "-1"),
    (DEVELOPMENT, "DEBUG", "perhaps"),
    (DEVELOPMENT, "LOG_LEVEL", "LOUD"),
    (DEVELOPMENT, "MAIL_PROVIDERS", "mailgun,backup=mailgun"),
    (DEVELOPMENT, "MAIL_RATES", "mailgun=fast"),
    (DEVELOPMENT, "MAIL_WARM_UP", "mailgun=soon"),
    (DEVELOPMENT, "MAIL_GUARD_BOUNCES", "0"),
    (PRODUCTION, "SECRET_KEY", None),
    (PRODUCTION, "SECRET_KEY", "short"),
    (PRODUCTION, "SECRET_KEY", "k3y" * 20),
    (PRODUCTION, "SECRET_KEY", env.DEVELOPMENT["SECRET_KEY"]),
    (PRODUCTION, "SECRET_KEY_FALLBACKS", "k3y" * 20),
    (PRODUCTION, "MAILGUN_API_KEY", env.DEVELOPMENT["MAILGUN_API_KEY"]),
    (PRODUCTION, "MAILGUN_WEBHOOK_SIGNING_KEY", env.DEVELOPMENT["MAILGUN_WEBHOOK_SIGNING_KEY"]),
    (PRODUCTION, "ALLOWED_HOSTS", None),
    (PRODUCTION, "ALLOWED_HOSTS", "legwork.example.org,*"),
    (PRODUCTION, "Q_FUNCTIONS", "*"),
    (PRODUCTION, "PUBLIC_URL", "javascript:alert(1)"),
    (PRODUCTION, "LOG_CLIENT_ADDRESS", "perhaps"),
    (PRODUCTION, "BODY_BUDGET_MIB", "0"),
    (PRODUCTION, "RATE_LIMIT_PER_MINUTE", "0"),
    (PRODUCTION, "DATABASE_URL", None),
]


@pytest.mark.parametrize(("settings", "name", "value"), WRONG, ids=lambda part: part if isinstance(part, str) else "")
@pytest.mark.parametrize("program", ["check", "deployment check", "web"])
def test_a_wrong_setting_stops_the_program_with_one_sentence(
    program: str, settings: Mapping[str, str], name: str, value: str | None
) -> None:
    stopped = run(program, {**settings, name: value})

    assert stopped.returncode != 0
    assert "Traceback" not in stopped.stderr
    [sentence] = stopped.stderr.splitlines()
    assert name in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("program", ["check", "web", "worker"])
def test_without_variables_the_settings_are_productions_and_refuse_to_start(program: str) -> None:
    stopped = run(program, {"DJANGO_SETTINGS_MODULE": None, "SECRET_KEY": None})
    assert stopped.returncode != 0
    [sentence] = stopped.stderr.splitlines()
    assert "SECRET_KEY is not set" in sentence
    assert sentence.endswith("developers set it to settings.development.")


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (["uvicorn", "a:b", "--host", "0.0.0.0"], True),  # noqa: S104
        (["uvicorn", "a:b", "--host=192.0.2.1", "--port", "1"], True),
        (["uvicorn", "a:b", "--host", "::"], True),
        (["manage.py", "runserver", "0.0.0.0:8000"], True),
        (["uvicorn", "a:b", "--host", "127.0.0.1", "--port", "8000"], False),
        (["uvicorn", "a:b", "--host", "::1"], False),
        (["uvicorn", "a:b", "--port", "8000"], False),
        (["manage.py", "runserver", "8000"], False),
        (["manage.py", "runserver", "--noreload"], False),
        (["manage.py", "runserver"], False),
    ],
)
def test_development_listens_on_this_machine_only(arguments: list[str], refused: bool) -> None:
    if refused:
        with pytest.raises(ImproperlyConfigured, match="other machines"):
            env.require_loopback(arguments)
    else:
        env.require_loopback(arguments)


def test_a_deployment_behind_an_undeclared_proxy_is_warned_of() -> None:
    assert "legwork.W002" not in run("deployment check", PRODUCTION).stderr
    assert "legwork.W002" in run("deployment check", {**PRODUCTION, "NUM_PROXIES": "0"}).stderr


@pytest.mark.parametrize(
    ("name", "value", "warning"),
    [
        ("SECURE_HSTS_SECONDS", "0", "security.W004"),
        ("SECURE_SSL_REDIRECT", "0", "security.W008"),
        ("NUM_PROXIES", "0", "legwork.W002"),
        ("MAILGUN_WEBHOOK_SIGNING_KEY", "", "mail.W001"),
    ],
)
def test_a_deployment_check_fails_at_a_setting_that_opens_a_door(name: str, value: str, warning: str) -> None:
    """It names each, and `make lint` and the releases run it with --fail-level WARNING."""
    complete = PRODUCTION | {f"MAILGUN_{each}": "key" for each in ("API_KEY", "SENDER_DOMAIN", "WEBHOOK_SIGNING_KEY")}
    assert run("strict deployment check", complete).returncode == 0
    failed = run("strict deployment check", complete | {name: value})
    assert failed.returncode != 0
    assert warning in failed.stderr


def test_a_worker_stops_at_a_wrong_setting_too() -> None:
    stopped = run("worker", {**DEVELOPMENT, "WORKERS": "many"})
    assert stopped.returncode != 0
    assert stopped.stderr.splitlines() == ["Legwork cannot start: WORKERS must be a whole number."]


def test_a_cluster_without_workers_stops_with_a_sentence() -> None:
    stopped = run("worker", {**DEVELOPMENT, "WORKERS": "0", "IO_WORKERS": "0"})
    assert stopped.returncode != 0
    assert stopped.stderr.splitlines()[-1].endswith("both must be 0 or more, and one of them 1 or more.")


@pytest.mark.parametrize("settings", [DEVELOPMENT, PRODUCTION], ids=lambda settings: settings["DJANGO_SETTINGS_MODULE"])
def test_right_settings_pass(settings: Mapping[str, str]) -> None:
    passed = run("check", settings)
    assert passed.returncode == 0
    assert UNSHARED_CACHE not in passed.stderr


@pytest.mark.parametrize(("cache", "warned"), [("locmem://", True), ("redis://127.0.0.1:1/0", False)])
def test_replicas_without_a_shared_cache_are_warned_of(cache: str, warned: bool) -> None:
    passed = run("check", {**DEVELOPMENT, "REPLICA_URLS": "postgres://127.0.0.1:1/legwork", "CACHE_URL": cache})
    assert passed.returncode == 0
    assert (UNSHARED_CACHE in passed.stderr) is warned


def run(program: str, changes: Mapping[str, str | None]) -> subprocess.CompletedProcess[str]:
    """The program with these variables; those that are None, and this test run's own settings, are not set."""
    ours = {"DATABASE_URL", "REPLICA_URLS", "CACHE_URL", "DJANGO_SETTINGS_MODULE", "SECRET_KEY", "ALLOWED_HOSTS"}
    ours |= {*env.DEVELOPMENT, "DEMO_KINDS", "Q_FUNCTIONS", "METRICS_ALLOWED"}  # defaults of the tests' settings
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {name: value for name, value in changes.items() if value is not None}
    return subprocess.run(PROGRAMS[program], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(("query", "seconds"), [("", None), ("?CONN_MAX_AGE=60", 60)])
def test_connections_are_kept_for_ever_unless_the_url_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, query: str, seconds: int | None
) -> None:
    monkeypatch.setenv("SOME_URL", f"postgres://user@db.example.org/name{query}")
    assert env.database("SOME_URL")["CONN_MAX_AGE"] == seconds
    assert env.replicas("SOME_URL")["replica1"]["CONN_MAX_AGE"] == seconds


@pytest.mark.parametrize(
    ("query", "changing"),
    [("", False), ("?disable_server_side_cursors=false", False), ("?disable_server_side_cursors=true", True)],
)
def test_a_url_says_whether_a_pooler_changes_sessions(
    monkeypatch: pytest.MonkeyPatch, query: str, changing: bool
) -> None:
    monkeypatch.setenv("SOME_URL", f"postgres://user@db.example.org/name{query}")
    assert env.database("SOME_URL")["DISABLE_SERVER_SIDE_CURSORS"] is changing
    assert env.replicas("SOME_URL")["replica1"]["DISABLE_SERVER_SIDE_CURSORS"] is changing


@pytest.mark.parametrize("read", [env.database, env.replicas])
def test_an_invalid_boolean_option_is_refused(monkeypatch: pytest.MonkeyPatch, read: Callable[[str], object]) -> None:
    monkeypatch.setenv("SOME_URL", "postgres://user@db.example.org/name?disable_server_side_cursors=perhaps")
    with pytest.raises(ImproperlyConfigured, match=r"\ASOME_URL [^\n]+=perhaps\.\Z"):
        read("SOME_URL")


def test_replicas_must_be_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_URL", "postgres://db.example.org/name, sqlite:///there")
    with pytest.raises(ImproperlyConfigured, match="SOME_URL"):
        env.replicas("SOME_URL")


@pytest.mark.parametrize("url", ["memcached://there", "redis:", "nonsense"])
def test_a_cache_is_redis_or_local_memory(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SOME_URL", url)
    with pytest.raises(ImproperlyConfigured, match="SOME_URL"):
        env.cache("SOME_URL")


@pytest.mark.parametrize(
    "value",
    [
        *("mailgun", "mailgun=", "=1/s", "mailgun=0/s", "mailgun=-1/s", "mailgun=1.5/s", "mailgun=1", "mailgun=1/week"),
        *("mailgun=1/s,mailgun=2/s", "mailgun=9999999999/s", "mailgun=1/s/s"),
    ],
)
def test_an_invalid_rate_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_RATES", value)
    with pytest.raises(ImproperlyConfigured, match="MAIL_RATES"):
        env.rates("MAIL_RATES")


def test_rates_are_read_with_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_RATES", "mailgun=100/s, Gmail.com=600/min,b=5/h,c=9/day")
    read = {"mailgun": (100, 1), "gmail.com": (600, 60), "b": (5, 3600), "c": (9, 86_400)}
    assert env.rates("MAIL_RATES") == read
