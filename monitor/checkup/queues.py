"""Clusters, queues, leases and pauses."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Job
from jobs.models.states import Status
from jobs.registry import kinds
from monitor.checkup.problem import Level, Problem
from monitor.dashboard.facts import Facts
from monitor.models import RollupPosition
from monitor.templatetags.monitor_tags import duration

RECENTLY = timedelta(hours=1)
LONG_WAIT = timedelta(minutes=10)
SKEW = 2.0
"""Seconds between the clocks of a cluster and of the database."""
ROLLUP_BEHIND = timedelta(minutes=2)
LEASE_GRACE = timedelta(seconds=15)
"""A dispatcher ends an expired lease within a second or two."""
NO_REMOTE_WORKER = "Programs of its owner run it, and none of them leases it (docs/remote-workers.md)."
NO_WORKER = "If its queue or kind is paused, resume it. If all workers are busy, raise WORKERS or IO_WORKERS."
START_CLUSTER = "Start one: `python manage.py qcluster`{}; look at the log of the one that should run."


def cluster_problems(facts: Facts) -> Iterator[Problem]:
    clusters = facts.clusters
    alive = [cluster for cluster in clusters if not cluster.lost]
    for cluster in clusters:
        if cluster.lost:
            since = duration(timezone.now() - cluster.seen_at)
            yield Problem(
                Level.ERROR if timezone.now() - cluster.seen_at < RECENTLY else Level.WARNING,
                f"The cluster {cluster.name} has not reported for {since}: killed, or cut off from the database.",
                "Its jobs run elsewhere when their leases expire. Start it again; its row disappears after a day.",
                "cluster-lost",
            )
        elif abs(cluster.clock_skew) > SKEW:
            yield Problem(
                Level.WARNING,
                f"The clock of {cluster.host} differs from the database's by {cluster.clock_skew:+.1f} s.",
                "Synchronise it (chrony or systemd-timesyncd). Leases do not depend on it; times in logs do.",
                "clock-skew",
            )
    if not alive:
        yield Problem(Level.ERROR, "No cluster is running, so no job runs.", START_CLUSTER.format(""), "no-cluster")
        return
    local = [kind for kind in kinds() if not kind.remote]
    for queue in sorted({kind.queue for kind in local}):
        serving = [cluster for cluster in alive if cluster.queue in ("", queue)]
        if not serving:
            what = f"No cluster serves the queue {queue!r}."
            yield Problem(Level.ERROR, what, START_CLUSTER.format(f" --queue {queue}"), "queue-not-served")
            continue
        for role, threaded, setting in (("worker", False, "WORKERS"), ("io-worker", True, "IO_WORKERS")):
            needed = any(kind.queue == queue and bool(kind.pool) == threaded for kind in local)
            if needed and not any(cluster.workers(role) for cluster in serving):
                what = f"No cluster that serves the queue {queue!r} has a process of the role {role}."
                yield Problem(Level.ERROR, what, f"Set {setting} to 1 or more for one of them.", "role-missing")


def queue_problems(facts: Facts) -> Iterator[Problem]:
    position = RollupPosition.objects.filter(name="jobs").first()
    if position and timezone.now() - position.until > ROLLUP_BEHIND:
        yield Problem(
            Level.WARNING,
            f"The figures are {duration(timezone.now() - position.until)} behind.",
            "Dispatchers keep them: look for maintenance_task_failed in the log of a cluster.",
            "figures-behind",
        )
    queued = [row for row in facts.depth if row["status"] == Status.QUEUED]
    known = {kind.name: kind for kind in kinds()}
    for name in sorted({row["kind"] for row in queued} - known.keys()):
        yield Problem(
            Level.WARNING,
            f"Jobs of the kind {name!r} are queued, which this release does not know.",
            "Deploy the release that has it, or cancel them.",
            "unknown-kind",
        )
    due = [(row["oldest"], row["kind"]) for row in queued if row["oldest"] and row["kind"] in known]
    oldest, name = min(due, default=(timezone.now(), ""))
    waiting = timezone.now() - oldest
    if waiting > LONG_WAIT:
        yield Problem(
            Level.WARNING,
            f"A job of the kind {name!r} has been due for {duration(waiting)} and has not started.",
            NO_REMOTE_WORKER if known[name].remote else NO_WORKER,
            "jobs-wait",
        )


def lease_problems(facts: Facts) -> Iterator[Problem]:
    stuck = Job.objects.filter(status=Status.RUNNING, lease_expires_at__lt=Now() - LEASE_GRACE)
    number = stuck.order_by().values("pk")[:1000].count()
    if number:
        yield Problem(
            Level.ERROR,
            f"{number} running jobs have had an expired lease for more than {LEASE_GRACE.seconds} s.",
            "Dispatchers rescue such jobs: does one run? Look for job_not_rescued, dispatcher_step_failed in its log.",
            "leases-stuck",
        )


def pause_notes(facts: Facts) -> Iterator[Problem]:
    for pause in facts.pauses:
        since = duration(timezone.now() - pause.since)
        yield Problem(
            Level.NOTE,
            f"The {pause.scope} {pause.name!r} was paused by {pause.by} {since} ago: {pause.reason}",
            "Resume it under Queues and kinds when the reason is gone.",
            "paused",
        )
