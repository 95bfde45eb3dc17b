"""Legwork's client: jobs, mail and remote workers over HTTP.

Client blocks, AsyncClient is for asyncio; both have the nouns jobs, mail, tokens and leases. Worker runs jobs of remote
kinds. What the API returns are dictionaries, typed in legwork_client.types.
"""

from legwork_client.aio.client import AsyncClient
from legwork_client.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    JobNotSucceeded,
    LegworkError,
    NotAuthenticated,
    NotFound,
    ServerError,
    TooManyRequests,
    Unprocessable,
    Unreachable,
    WaitTimeout,
)
from legwork_client.retries import Retries
from legwork_client.sync.client import Client
from legwork_client.task import PermanentFailure, RetryLater, Task, TaskStopped
from legwork_client.worker import Worker

__version__ = "1.0.0"
__all__ = [
    "ApiError",
    "AsyncClient",
    "BadRequest",
    "Client",
    "Conflict",
    "Forbidden",
    "Gone",
    "JobNotSucceeded",
    "LegworkError",
    "NotAuthenticated",
    "NotFound",
    "PermanentFailure",
    "Retries",
    "RetryLater",
    "ServerError",
    "Task",
    "TaskStopped",
    "TooManyRequests",
    "Unprocessable",
    "Unreachable",
    "WaitTimeout",
    "Worker",
]
