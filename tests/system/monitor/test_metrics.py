"""/metrics over several processes: what one has counted, another tells."""

import requests

from demo.eventually import eventually
from tests.support.stack import Stack
from tests.support.timeouts import PATIENCE

PATH = "/webhooks/mailgun/tracking/"
WEBHOOKS = 3
READ_IN_ANOTHER_PROCESS = """
from monitor.metrics import queue
queue.forget()
print(queue.exposition().decode())
"""
REFUSED = 'legwork_webhooks_total{outcome="refused",service="mailgun"} '


def test_webhooks_counted_by_one_web_process_are_shown_by_another(postgresql_stack: Stack) -> None:
    before = refused(postgresql_stack)
    for _ in range(WEBHOOKS):
        assert requests.post(postgresql_stack.url + PATH, json={"hello": "world"}, timeout=30).status_code == 406
    eventually(lambda: refused(postgresql_stack) == before + WEBHOOKS, PATIENCE, "the count in the database")


def refused(stack: Stack) -> float:
    lines = stack.run_code(READ_IN_ANOTHER_PROCESS).splitlines()
    return sum(float(line.removeprefix(REFUSED)) for line in lines if line.startswith(REFUSED))
