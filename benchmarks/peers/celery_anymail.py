"""One task for each mail, with the mail as its arguments and Redis as broker. It calls send() of a Django e-mail with
Anymail's Mailgun backend, which opens a connection to the API for each mail. Nothing about a mail is stored, neither
status nor attempts, and suppressions are not checked."""

import os

import django
from celery import Celery
from django.core.mail import EmailMultiAlternatives

from benchmarks.mails import SUBJECT, TEXT, addresses

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.peers.anymail_settings")
django.setup()

app = Celery("bench", broker=f"{os.environ['REDIS_URL']}/0")
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "4")),
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.mail")
def send(to: str, subject: str, text: str) -> None:
    EmailMultiAlternatives(subject, text, None, [to]).send()


def prepare() -> None:
    pass


def submit_mails(count: int) -> None:
    for to in addresses(count):
        send.delay(to, SUBJECT, TEXT)
