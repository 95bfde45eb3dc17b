"""`manage.py jobs`: list, show, cancel, retry and follow jobs in a terminal."""

import json
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from jobs.cancellation import cancel
from jobs.errors import AlreadyFinished, NotRestartable, UniqueKeyTaken
from jobs.models import Job
from jobs.models.states import Status
from monitor.job_filter import AGES, JobFilter, moment
from monitor.job_search import newest
from monitor.job_times import times
from monitor.templatetags.monitor_tags import duration

BAR = 30
"""Characters of a progress bar."""
MESSAGE = 60
"""Characters of an error's message in a list."""
LOOK_EVERY = 0.5
"""Seconds between two looks at a job that is followed."""
SEARCH_FOR = 30.0
"""Seconds that `list` looks for jobs where no index helps."""
INTERRUPTED = 130
"""The exit status after Ctrl-C, as of other programs."""


class Command(BaseCommand):
    help = "List, show, cancel, retry and follow jobs of all users."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list", help="the newest jobs that match")
        for name in ("kind", "owner", "queue", "error", "q"):
            listing.add_argument(f"--{name}", default="")
        listing.add_argument("--status", default="", choices=Status.values)
        listing.add_argument("--created", default="", type=creation, help=f"{', '.join(AGES)}, or FROM..TO")
        listing.add_argument("--internal", action="store_true", help="with kinds that only Legwork submits")
        listing.add_argument("--limit", type=int, default=20)
        for verb, text in (
            ("show", "everything about a job, as JSON"),
            ("cancel", "cancel a job, or ask it to stop"),
            ("retry", "queue a failed or cancelled job again"),
            ("tail", "follow a job's progress until it ends; exit status 1 unless it succeeds"),
        ):
            verbs.add_parser(verb, help=text).add_argument("id", type=UUID)

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        if verb == "list":
            names = ("status", "kind", "owner", "queue", "created", "error", "internal", "q")
            return self._list(JobFilter(**{name: options[name] for name in names}), options["limit"])
        job = Job.objects.filter(pk=options["id"]).select_related("user").first()
        if job is None:
            raise CommandError(f"There is no job {options['id']}.")
        verbs: dict[str, Callable[[Job], None]] = {
            "show": self._show,
            "cancel": self._cancel,
            "retry": self._retry,
            "tail": self._tail,
        }
        try:
            verbs[verb](job)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None

    def _list(self, wanted: JobFilter, limit: int) -> None:
        found, now = newest(wanted, limit, budget=SEARCH_FOR), timezone.now()
        errors = _last_errors(found.jobs)
        for job in found.jobs:
            spent = times(job, now)
            owner = job.user.username if job.user else "-"
            self.stdout.write(
                f"{job.pk}  {job.created_at:%Y-%m-%d %H:%M:%S}  {job.status:<9}  {job.progress['percent']:>5.1f} %"
                f"  wait {duration(spent.wait):>9}  run {duration(spent.run):>9}  {owner:<12}  {job.kind}"
                f"  {errors.get(job.pk, '')}".rstrip()
            )
        if found.searched_back_to:
            self.stdout.write(f"Searched back to {found.searched_back_to:%Y-%m-%d %H:%M:%S}.")
        elif found.older:
            self.stdout.write(f"There are older ones: --limit {2 * limit}.")
        elif not found.jobs:
            hidden = "" if wanted.shows_internal else " Kinds that only Legwork submits are shown with --internal."
            self.stdout.write(f"No job matches.{hidden}")

    def _show(self, job: Job) -> None:
        shown = {field.name: getattr(job, field.attname) for field in Job._meta.concrete_fields}
        self.stdout.write(json.dumps(shown, indent=2, ensure_ascii=False, default=str))

    def _cancel(self, job: Job) -> None:
        try:
            cancel(job)
        except AlreadyFinished as error:
            raise CommandError(str(error)) from None
        self.stdout.write("Cancelled." if job.status == Status.CANCELLED else "Asked to stop.")

    def _retry(self, job: Job) -> None:
        try:
            job.restart()
        except (NotRestartable, UniqueKeyTaken) as error:
            raise CommandError(str(error)) from None
        self.stdout.write("Queued again.")

    def _tail(self, job: Job) -> None:
        last = ""
        while True:
            line = progress_line(job)
            if line != last:
                self.stdout.write(line, ending="\r" if self.stdout.isatty() and not job.finished else "\n")
                self.stdout.flush()
                last = line
            if job.finished:
                break
            time.sleep(LOOK_EVERY)
            job.refresh_from_db(fields=["status", "progress", "attempt", "finished_at"])
        if job.status != Status.SUCCEEDED:
            raise SystemExit(1)


def creation(text: str) -> str:
    """The value of --created; empty means any. Raises ArgumentTypeError."""
    moments = [part for part in text.split("..") if part]
    if text and text not in AGES and (".." not in text or not moments or not all(map(moment, moments))):
        raise ArgumentTypeError(f"{text!r} is neither one of {', '.join(AGES)} nor FROM..TO, as 2026-01-31..2026-02-05")
    return text


def _last_errors(jobs: Iterable[Job]) -> dict[UUID, str]:
    """The last errors of failed and retrying jobs by id: the class and the beginning of the message."""
    wanted = [job.pk for job in jobs if job.status in (Status.FAILED, Status.RETRYING)]
    rows = Job.objects.filter(pk__in=wanted).values_list("pk", "errors")
    last = {pk: errors[-1] for pk, errors in rows if errors}
    return {pk: f"{error['type']}: {' '.join(error['message'].split())[:MESSAGE]}" for pk, error in last.items()}


def progress_line(job: Job) -> str:
    """[######------]  40.0 %  running  attempt 1  message"""
    percent = float(job.progress["percent"])
    filled = round(BAR * percent / 100)
    bar = "#" * filled + "-" * (BAR - filled)
    return f"[{bar}] {percent:>5.1f} %  {job.status}  attempt {job.attempt}  {job.progress['message']}".ljust(78)
