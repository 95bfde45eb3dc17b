"""Checks for what is wrong now. The dashboard runs the quick ones, `manage.py doctor` all."""

from collections.abc import Callable, Iterable

from monitor.checkup.brokers import service_problems
from monitor.checkup.configuration import configuration_problems
from monitor.checkup.database import pooler_notes, replica_problems, schema_problems, snapshot_problems, table_problems
from monitor.checkup.mail import mail_problems
from monitor.checkup.problem import Level, Problem
from monitor.checkup.queues import cluster_problems, lease_problems, pause_notes, queue_problems
from monitor.dashboard.facts import Facts

__all__ = ["CHECKS", "Level", "Problem", "live_checks"]

Check = Callable[[Facts], Iterable[Problem]]

QUICK: tuple[Check, ...] = (
    cluster_problems,
    queue_problems,
    lease_problems,
    pause_notes,
    mail_problems,
    snapshot_problems,
    replica_problems,
    service_problems,
)
CHECKS: tuple[Check, ...] = (*QUICK, pooler_notes, table_problems, schema_problems, configuration_problems)


def live_checks(facts: Facts) -> list[Problem]:
    """The findings of the quick checks, worst first."""
    return sorted((problem for check in QUICK for problem in check(facts)), key=lambda problem: -problem.level)
