"""`manage.py import_suppressions FILE`: suppresses the addresses of a CSV file, in our own format or Mailgun's."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mail.addresses.csv_files import BadFile
from mail.suppressions.files import COLUMNS, import_file


class Command(BaseCommand):
    help = "Suppress all addresses of a CSV file that export_suppressions or Mailgun has written."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--list", choices=list(COLUMNS), help="Mailgun's list, if the columns do not tell which it is."
        )

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            done = import_file(file.read_bytes(), name=options["list"], source="import")
        except (BadFile, OSError) as error:
            raise CommandError(str(error)) from None
        for each in done.refused:
            self.stderr.write(f"row {each['row']}: {each['errors'][0]['detail']}")
        self.stdout.write(f"{done.imported} imported, {done.known} known, {done.refusals} refused")
