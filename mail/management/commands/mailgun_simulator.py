"""`manage.py mailgun_simulator`: runs the Mailgun simulator of development and tests. It needs no database."""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mail.simulator.api import Api
from mail.simulator.config import DEFAULT_TIME_SCALE, Config
from mail.simulator.control import Control
from mail.simulator.inbox import Inbox
from mail.simulator.server import App, Server
from mail.simulator.simulator import Simulator


class Command(BaseCommand):
    help = "Simulate Mailgun's HTTP API and webhooks until SIGTERM or Ctrl-C. An inbox page is at /."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8025, help="0: any free port.")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--webhook-url", default="", help="Where webhooks are sent; by default nowhere.")
        parser.add_argument("--latency", type=float, default=0.0, help="Seconds until the API answers a message.")
        parser.add_argument(
            "--time-scale",
            type=float,
            default=DEFAULT_TIME_SCALE,
            help="Real seconds per second of Mailgun's time, for deferrals and retries of webhooks (%(default).4f).",
        )
        parser.add_argument("--domain", action="append", default=[], help="An additional domain that may send.")

    def handle(self, *args: Any, host: str, port: int, domain: list[str], **options: Any) -> None:
        config = Config(options["webhook_url"], options["latency"], options["time_scale"])
        simulator = Simulator(config, signing_key=settings.MAILGUN_WEBHOOK_SIGNING_KEY.split(",")[0].strip())
        api = Api(simulator, settings.MAILGUN_API_KEY, {settings.MAILGUN_SENDER_DOMAIN, *domain})
        try:
            server = Server(host, port, self._announce)
        except OSError as error:
            raise CommandError(f"The simulator cannot listen on {host}:{port}: {error.strerror}.") from None
        app = App([*api.routes(), *Control(simulator, server.close_port).routes(), *Inbox(simulator).routes()])
        server.serve_until_stopped(app)
        # Not a normal exit: a thread that waits for the answer to a webhook would delay it. There is nothing to save.
        os._exit(0)

    def _announce(self, url: str) -> None:
        self.stdout.write(f"Mailgun's simulator listens at {url}/ (set MAILGUN_API_URL to {url}/v3).")
        self.stdout.flush()
