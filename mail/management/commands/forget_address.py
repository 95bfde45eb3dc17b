"""`manage.py forget_address ada@example.org`: erases a person's data on request (GDPR, Art. 17)."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mail.addresses.normalize import mask_address
from mail.addresses.parsing import BadAddress, parse_mailbox
from mail.privacy.forgetting import forget


class Command(BaseCommand):
    help = "Erase all mail to an address, and the address itself. Its suppressions stay, as digests."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address")
        parser.add_argument("--yes", action="store_true", help="Do not ask first.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            address = parse_mailbox(options["address"]).address
        except BadAddress as error:
            raise CommandError(str(error)) from None
        if not options["yes"] and input(f"Erase all mail to {address}? This cannot be undone. [yes/no] ") != "yes":
            raise CommandError("Nothing was erased.")
        for name, count in forget(address).items():
            self.stdout.write(f"{count:>6} {name}")
        self.stdout.write(f"{mask_address(address)} was forgotten.")
