"""`python -m benchmarks.event_log`: events a second from Mailgun's event log, read page by page into the database.

Measured twice: when no webhook has reported any of them, and when all are known already, which is the usual case.
"""

import argparse
import json
import os
import time
from datetime import timedelta
from typing import Any

import django
import requests
from rich.console import Console

from tests.support.servers.postgresql import PostgreSQL, create_database
from tests.support.servers.simulator import API_KEY, DOMAIN, Simulator

PER_CALL = 20
"""Recipients of one call. Each event then names all of them, where real ones name one or a few."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    events = parser.parse_args().events
    with PostgreSQL() as server, Simulator(time_scale=0.0001) as simulator:
        os.environ |= {"DATABASE_URL": create_database(server.url(), "events"), **simulator.env}
        os.environ |= {"DJANGO_SETTINGS_MODULE": "settings.test", "MAIL_SETTLED_AFTER": "0"}
        django.setup()
        _measure(simulator, events)


def _measure(simulator: Simulator, events: int) -> None:
    # Django's settings have read the environment, and its models are ready, only now.
    from django.core.management import call_command  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from mail.events.event_log import read_logs  # noqa: PLC0415
    from mail.models import EventLogPosition  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    attempts = _make_attempts(events)
    for place in range(0, events, PER_CALL):
        _send(simulator, attempts[place : place + PER_CALL])
    while simulator.get("")["events"] < 2 * events:
        time.sleep(0.2)
    time.sleep(1)
    for what in ("unknown", "known"):
        EventLogPosition.objects.update(read_until=timezone.now() - timedelta(hours=1))
        began, cpu = time.monotonic(), time.process_time()
        counts = read_logs()
        seconds = time.monotonic() - began
        rate, cpu = counts["read"] / seconds, time.process_time() - cpu
        Console().print(
            f"{what}: {counts['read']} read, {counts['new']} new, {seconds:.1f} s, {rate:.0f}/s, {cpu:.1f} s of CPU"
        )


def _make_attempts(number: int) -> list[tuple[str, str]]:
    """Store so many sent messages; returns the address and the attempt's id of each."""
    from django.utils import timezone  # noqa: PLC0415

    from mail.models import Attempt, Message  # noqa: PLC0415

    now = timezone.now()
    usual: dict[str, Any] = {"sender": f"l@{DOMAIN}", "subject": "Hi", "text": "x" * 1000, "status": "sent"}
    usual |= {"expires_at": now + timedelta(days=1), "sent_at": now, "provider": "mailgun"}
    addresses = [f"a{place}@example.org" for place in range(number)]
    messages = [Message(to=address, address=address, **usual) for address in addresses]
    made = [
        Attempt(message=message, provider="mailgun", service="mailgun", domain=DOMAIN, outcome="accepted")
        for message in messages
    ]
    Message.objects.bulk_create(messages, batch_size=2000)
    Attempt.objects.bulk_create(made, batch_size=2000)
    return [(attempt.message.address, str(attempt.pk)) for attempt in made]


def _send(simulator: Simulator, some: list[tuple[str, str]]) -> None:
    fields = {
        "from": f"l@{DOMAIN}",
        "to": ", ".join(address for address, _ in some),
        "subject": "Hi",
        "text": "x",
        "v:attempt_id": "%recipient.attempt_id%",
        "recipient-variables": json.dumps({address: {"attempt_id": attempt} for address, attempt in some}),
    }
    url = f"{simulator.api_url}/{DOMAIN}/messages"
    requests.post(url, fields, auth=("api", API_KEY), timeout=120).raise_for_status()


if __name__ == "__main__":
    main()
