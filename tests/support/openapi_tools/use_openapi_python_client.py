"""A client that openapi-python-client has generated: posts a job and a batch, waits, reads. Arguments: URL, token."""

import sys
import time

from legwork_client.api.jobs import jobs_batch, jobs_create, jobs_read
from legwork_client.models import (
    BatchRequest,
    BatchResponse,
    DemoCountdownJob,
    DemoCountdownParams,
    JobResponse,
    ReportActivityJob,
)

from legwork_client import AuthenticatedClient

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2], prefix="Token", raise_on_unexpected_status=True)
countdown = DemoCountdownJob(kind="demo.countdown", params=DemoCountdownParams(seconds=0))
job = jobs_create.sync(client=client, body=countdown)
assert isinstance(job, JobResponse), job

both = jobs_batch.sync(client=client, body=BatchRequest(jobs=[countdown, ReportActivityJob(kind="report.activity")]))
assert isinstance(both, BatchResponse), both
assert both.accepted == 2, both

while True:
    answer = jobs_read.sync_detailed(job.id, client=client)
    assert isinstance(answer.parsed, JobResponse), answer
    if answer.parsed.finished_at:
        break
    time.sleep(float(answer.headers["Retry-After"]))
sys.stdout.write(answer.parsed.status)
