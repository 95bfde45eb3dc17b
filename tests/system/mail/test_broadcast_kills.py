"""SIGKILL to the worker in the middle of a broadcast: every row becomes one message, and none two."""

from pathlib import Path
from typing import Any

from demo.eventually import eventually
from tests.support.cluster_stack import PATIENCE, Cluster, ClusterStack, kill
from tests.support.stack import Client

ROWS, KILLS = 4000, 3


class OnlyBroadcasts(ClusterStack):
    """A stack whose cluster does not serve the queue `mail`: the messages are not to be sent here."""

    def add_cluster(self, workers: int = 1, **options: Any) -> Cluster:
        cluster = super().add_cluster(workers, **options)
        cluster._command += ["--queue", "default"]
        return cluster


def test_a_broadcast_outlives_its_workers(tmp_path: Path) -> None:
    with OnlyBroadcasts(f"sqlite:///{tmp_path}/legwork.sqlite3", tmp_path, workers=1) as stack:
        client = stack.client()
        client.request("PUT", "mail/templates/news/", expect=201, json={"subject": "News", "text": "Dear {{ name }}"})
        readers = [{"to": f"reader{number}@example.org", "context": {"name": number}} for number in range(ROWS)]
        job = client.post("mail/broadcasts/", {"template": "news", "recipients": readers}, expect=202).json()

        for number in range(1, KILLS + 1):
            worker = stack.worker_of(job, attempt=number)
            eventually(lambda number=number: rows_done(stack) >= number * 500, PATIENCE, "another chunk")
            kill(worker)

        done = stack.wait(job, "succeeded", within=2 * PATIENCE)
        assert (done["attempt"], done["result"]["accepted"], done["result"]["refused"]) == (KILLS + 1, ROWS, 0)
        assert sorted(recipients_of_all_messages(client)) == sorted(reader["to"] for reader in readers)


def rows_done(stack: ClusterStack) -> int:
    return max((event["next_row"] for event in stack.events("broadcast_advanced")), default=0)


def recipients_of_all_messages(client: Client) -> list[str]:
    found: list[str] = []
    page: dict[str, Any] = {"next": "mail/messages/?page_size=200"}
    while page["next"]:
        page = client.get(page["next"], expect=200).json()
        found += [message["to"] for message in page["results"]]
    return found
