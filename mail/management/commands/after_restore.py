"""`manage.py after_restore`: run once on a database that was restored from a backup, before any worker starts."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from jobs.models import Job
from jobs.models.cluster import Cluster
from mail.models import Message
from mail.sending import restored
from rest.watch.table import new_version


class Command(BaseCommand):
    help = (
        "Make a restored database safe to work on: mail that may have been sent since the backup is looked up at its "
        "provider before it is sent again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        running = [cluster.name for cluster in Cluster.objects.all() if not cluster.lost]
        if running:
            raise CommandError(f"Stop these clusters, and try again after ten seconds: {', '.join(running)}.")
        unclear = restored.mark_unclear()
        stopped = restored.stop_unfinished_broadcasts()
        # Watching clients may have seen versions that are later than the backup's; new ones are later still.
        unfinished = Job.objects.unfinished().update(version=new_version())
        Message.objects.pending().update(version=new_version())
        self.stdout.write(f"{unclear:>8} messages are looked up at their provider before they are sent again")
        self.stdout.write(f"{stopped:>8} broadcasts are stopped: resume or cancel them in the admin")
        self.stdout.write(f"{unfinished:>8} jobs are unfinished and will run, some of them perhaps again")
        self.stdout.write("The workers may start.")
