"""`manage.py mailgun_simulator`: the Mailgun of development and tests. It needs no database."""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mail.simulator.api import Api
from mail.simulator.app import App
from mail.simulator.config import DEFAULT_TIME_SCALE, Knobs
from mail.simulator.control import Control
from mail.simulator.inbox import Inbox
from mail.simulator.server import Server
from mail.simulator.simulator import Office


class Command(BaseCommand):
    help = "Simulate Mailgun's HTTP API and its webhooks until SIGTERM or Ctrl-C; an inbox to look at is at /."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8025, help="0 takes a free one.")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--webhook-url", default="", help="Where webhooks go; nowhere by default.")
        parser.add_argument("--latency", type=float, default=0.0, help="Seconds that the API takes to answer.")
        parser.add_argument(
            "--time-scale",
            type=float,
            default=DEFAULT_TIME_SCALE,
            help="Seconds here for each second of Mailgun's own time: deferrals, retries of webhooks (%(default).4f).",
        )
        parser.add_argument("--domain", action="append", default=[], help="A further domain that may send.")

    def handle(self, *args: Any, host: str, port: int, domain: list[str], **options: Any) -> None:
        knobs = Knobs(options["webhook_url"], options["latency"], options["time_scale"])
        office = Office(knobs, signing_key=settings.MAILGUN_WEBHOOK_SIGNING_KEY.split(",")[0].strip())
        api = Api(
            office,
            settings.MAILGUN_API_KEY,
            {settings.MAILGUN_SENDER_DOMAIN, *domain},
        )
        try:
            server = Server(host, port, self._say)
        except OSError as error:
            raise CommandError(f"The simulator cannot listen on {host}:{port}: {error.strerror}.") from None
        app = App([*api.routes(), *Control(office, server.refuse).routes(), *Inbox(office).routes()])
        server.serve_until_told(app)
        # A thread that waits for the answer to a webhook would keep the process; there is nothing to save.
        os._exit(0)

    def _say(self, url: str) -> None:
        self.stdout.write(f"Mailgun's simulator listens at {url}/ (MAILGUN_API_URL is {url}/v3).")
        self.stdout.flush()
