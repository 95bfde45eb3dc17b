"""Ends a user's tokens and sessions, and cancels the work of deactivated users."""

from contextlib import suppress

import structlog
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from jobs.cancellation import cancel
from jobs.errors import AlreadyFinished
from jobs.models import Job
from jobs.models.queue.due import BY_AGE
from jobs.models.states import UPCOMING, Status
from mail.errors import AlreadySent
from mail.models import Message
from mail.status import CANCELLABLE
from mail.submit import cancel_message
from project.models import Session, Token
from routers import pool

log = structlog.get_logger(__name__)

BATCH = 1000


def end_access(user_id: int) -> None:
    """Log the user out everywhere: all tokens and all sessions."""
    with transaction.atomic():
        tokens, _ = Token.objects.filter(user_id=user_id).delete()
        sessions, _ = Session.objects.filter(user_id=user_id).delete()
    pool.record_writes([user_id])  # no replica may let them in any more
    log.info("access_ended", user_id=user_id, tokens=tokens, sessions=sessions)


def end_access_of_inactive_users() -> int:
    """Log out deactivated users, so that a later reactivation revives no old login. Returns how many users."""
    by_user = {"user_id": OuterRef("pk")}
    left = Exists(Token.objects.filter(**by_user)) | Exists(Session.objects.filter(**by_user))
    users = list(User.objects.filter(left, is_active=False).values_list("pk", flat=True))
    for user_id in users:
        end_access(user_id)
    return len(users)


def cancel_work_of_inactive_users() -> int:
    """Cancel the jobs and messages that deactivated users have waiting, and interrupt their running jobs.

    At most BATCH of each at a time; the next run continues. Does nothing with KEEP_WORK_OF_INACTIVE_USERS. Returns how
    many were cancelled.
    """
    if settings.KEEP_WORK_OF_INACTIVE_USERS:
        return 0
    inactive = list(User.objects.filter(is_active=False).values_list("pk", flat=True))
    return _cancel_jobs(inactive) + _cancel_messages(inactive) if inactive else 0


def _cancel_jobs(users: list[int]) -> int:
    cancelled = 0
    # One query for each state, because each has its index.
    for state in (BY_AGE, Q(status__in=UPCOMING), Q(status=Status.RUNNING)):
        jobs = Job.objects.filter(state, user__in=users, cancel_requested=False).order_by()
        for job in jobs.without_history()[:BATCH]:
            with suppress(AlreadyFinished):
                cancel(job)
                cancelled += 1
    return cancelled


def _cancel_messages(users: list[int]) -> int:
    cancelled = 0
    for message in Message.objects.unfinished().filter(user__in=users, status__in=CANCELLABLE).order_by()[:BATCH]:
        with suppress(AlreadySent):
            cancel_message(message)
            cancelled += 1
    return cancelled
