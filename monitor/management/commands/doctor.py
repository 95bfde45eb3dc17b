"""`manage.py doctor`: what is wrong now, and what to do about it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, InterfaceError

from monitor.checkup import CHECKS, Level, Problem
from monitor.dashboard.facts import Facts

STYLES = {Level.ERROR: "ERROR", Level.WARNING: "WARNING", Level.NOTE: "NOTICE"}
RUNBOOKS = "docs/operations/runbooks.md"
AWAY = "Check DATABASE_URL, that the server runs, and that it accepts connections from here."


class Command(BaseCommand):
    help = "Say what is wrong now and what to do. Exit status: 0 nothing, 1 warnings, 2 errors."
    requires_system_checks = ()  # configuration_problems() runs them

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--quiet", action="store_true", help="Print nothing if nothing is wrong.")

    def handle(self, *args: Any, quiet: bool, **options: Any) -> None:
        found = sorted(diagnose(), key=lambda problem: -problem.level)
        for problem in found:
            style = getattr(self.style, STYLES[problem.level])
            self.stdout.write(
                f"{style(problem.name.upper())}  {problem.what}\n    {problem.remedy}\n    {RUNBOOKS}#{problem.runbook}"
            )
        worst = max((problem.level for problem in found), default=Level.NOTE)
        if worst == Level.NOTE and not quiet:
            self.stdout.write(self.style.SUCCESS("Nothing is wrong."))
        if worst > Level.NOTE:
            raise SystemExit(int(worst) - 1)


def diagnose() -> list[Problem]:
    """The findings of all checks. A check that fails is a finding too."""
    facts, found = Facts(), []
    for check in CHECKS:
        try:
            found += list(check(facts))
        except (DatabaseError, InterfaceError) as error:
            what = f"The database does not answer: {str(error).strip()}"
            away = Problem(Level.ERROR, what, AWAY, "database-away")
            return [*found, away]
        except Exception as error:
            what = f"The check {check.__name__} failed: {type(error).__name__}: {error}"
            found.append(Problem(Level.ERROR, what, "This is a defect of Legwork: report it.", "check-failed"))
    return found
