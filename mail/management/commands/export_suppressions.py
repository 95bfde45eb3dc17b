"""`manage.py export_suppressions`: writes the suppressions in force as CSV, in our own format or Mailgun's."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from mail.models import Suppression
from mail.suppressions.files import COLUMNS, export_file


class Command(BaseCommand):
    help = "Write the suppressions in force to standard output as CSV."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--list", choices=list(COLUMNS), help="Only one of Mailgun's lists, in the format that Mailgun imports."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for line in export_file(Suppression.objects.in_force(), options["list"]):
            self.stdout.write(line, ending="")
