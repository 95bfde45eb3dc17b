"""Mails are rows in PostgreSQL, inserted in bulk; `send_queued_mail` runs once over all that are queued, with as many
processes as Legwork has workers. It stores the outcome of each mail, batch by batch."""

import os
from typing import Any

import django
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.peers.anymail_settings")
django.setup()

from post_office import mail  # noqa: E402

from benchmarks.mails import SUBJECT, TEXT, addresses  # noqa: E402


def prepare() -> None:
    call_command("migrate", interactive=False, verbosity=0)


def submit_mails(count: int) -> None:
    mails: list[dict[str, Any]] = [{"recipients": [to], "subject": SUBJECT, "message": TEXT} for to in addresses(count)]
    mail.send_many(mails)
