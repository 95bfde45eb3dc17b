"""Checks Q_CLUSTER: which settings are used as in django-q, which are ignored (and what replaces them), or refused.

docs/django-q2.md has the table. `manage.py check` and qcluster report the problems.
"""

from collections.abc import Mapping
from difflib import get_close_matches

from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from jobs.brokers.claims import ClaimingBroker

USED = frozenset(
    {
        "name",
        "cluster_name",
        "ALT_CLUSTERS",
        "broker_class",
        "orm",
        "cache",
        "workers",
        "scheduler",
        "poll",
        "bulk",
        "timeout",
        "retry",
        "max_attempts",
        "ack_failures",
        "save_limit",
        "save_limit_per",
        "cached",
        "compress",
        "catch_up",
        "time_zone",
        "recycle",
        "max_rss",
        "error_reporter",
        "sync",
        "label",
        "testing",
    }
)
IGNORED = {
    "queue_limit": "a worker takes at most `bulk` tasks and has no queue of its own",
    "guard_cycle": "the supervisor notices at once when a process ends",
    "daemonize_workers": "tasks may always start processes",
    "cpu_affinity": "set it for the whole of qcluster, with taskset or with CPUAffinity= in a systemd unit",
    "log_level": "set LOG_LEVEL in the environment, or LOGGING",
}
"""Each with what replaces it."""
REFUSED = ("redis", "django_redis", "sqs", "mongo", "mongo_db", "iron_mq")
"""They choose a broker; here BROKER_URL does."""


def problems(q_cluster: Mapping[str, object]) -> list[CheckMessage]:
    """What is wrong with Q_CLUSTER, errors first."""
    found = [*_wrong_broker(q_cluster.get("broker_class")), *_second_brokers(q_cluster)]
    alternatives = q_cluster.get("ALT_CLUSTERS")
    clusters = {"": q_cluster, **(alternatives if isinstance(alternatives, dict) else {})}
    return found + [message for name, cluster in clusters.items() for message in _unused(name, cluster)]


def _wrong_broker(path: object) -> list[CheckMessage]:
    try:
        broker = import_string(str(path))
    except ImportError:
        broker = None
    if isinstance(broker, type) and issubclass(broker, ClaimingBroker):
        return []
    wrong = f"is {path!r}" if path else "is missing"
    text = f"Q_CLUSTER['broker_class'] {wrong}; it must be BROKER['class'], which BROKER_URL chooses."
    return [Error(text, id="jobs.E001")]


def _second_brokers(q_cluster: Mapping[str, object]) -> list[CheckMessage]:
    return [
        Error(f"Q_CLUSTER[{name!r}] is not used: remove it and set BROKER_URL instead.", id="jobs.E002")
        for name in REFUSED
        if q_cluster.get(name)
    ]


def _unused(cluster: str, q_cluster: Mapping[str, object]) -> list[CheckMessage]:
    where = f"Q_CLUSTER['ALT_CLUSTERS'][{cluster!r}]" if cluster else "Q_CLUSTER"
    found: list[CheckMessage] = []
    for name in q_cluster:
        if name in IGNORED:
            found.append(Warning(f"{where}[{name!r}] is ignored: {IGNORED[name]}.", id="jobs.W001"))
        elif name not in USED and name not in REFUSED:
            hint = "".join(f"; did you mean {guess!r}?" for guess in get_close_matches(name, USED, 1)) or "."
            found.append(Warning(f"{where}[{name!r}] is not a setting of django-q{hint}", id="jobs.W002"))
    return found
