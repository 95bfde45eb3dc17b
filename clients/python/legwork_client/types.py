"""The API's answers as dictionaries. Made from its OpenAPI document by make_types.py; do not edit."""

from typing import Any, Literal, NotRequired, TypedDict

Importance = Literal["critical", "normal", "bulk"]
JobStatus = Literal["scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled"]
MessageStatus = Literal[
    "scheduled",
    "queued",
    "sending",
    "sent",
    "deferred",
    "delivered",
    "bounced",
    "complained",
    "rejected",
    "suppressed",
    "failed",
    "expired",
    "cancelled",
]
TokenScope = Literal["all", "read", "leases"]


Failure = TypedDict(
    "Failure",
    {
        "class": "str",
        "detail": "str",
    },
)


Message = TypedDict(
    "Message",
    {
        "id": "str",
        "url": "str",
        "to": "str",
        "subject": "str",
        "importance": "Importance",
        "stream": "str | None",
        "status": "MessageStatus",
        "provider": "str | None",
        "tags": "list[str]",
        "metadata": "dict[str, str]",
        "created_at": "str",
        "send_at": "str | None",
        "expires_at": "str",
        "sent_at": "str | None",
        "finished_at": "str | None",
        "opens": "int",
        "clicks": "int",
        "possible_duplicate": "bool",
        "failure": "Failure | Any",
        "resend_of": "str | None",
        "timeline": "list[TimelineEntry]",
        "from": "str",
    },
)


class BatchResult(TypedDict):
    """The id and url of an accepted item, or the errors of a refused one."""

    id: "NotRequired[str]"
    url: "NotRequired[str]"
    errors: "NotRequired[list[FieldError]]"


class Error(TypedDict):
    """One failed attempt."""

    type: "str"
    message: "str"
    attempt: "int"
    at: "str"


class FieldError(TypedDict):
    field: "str"
    code: "str"
    detail: "str"


class Job(TypedDict):
    """A job, as its owner sees it."""

    id: "str"
    url: "str"
    kind: "str"
    params: "dict[str, Any]"
    status: "JobStatus"
    progress: "Progress"
    attempt: "int"
    max_attempts: "int | None"
    priority: "int"
    timeout: "int"
    unique_key: "str | None"
    run_at: "str"
    created_at: "str"
    started_at: "str | None"
    finished_at: "str | None"
    result: "Any"
    error: "Error | Any"
    errors: "list[Error]"
    cancel_requested: "bool"
    output: "Output | Any"


class Kind(TypedDict):
    """A kind of job that clients may post."""

    name: "str"
    description: "str"
    params_schema: "dict[str, Any]"
    timeout: "int"
    max_attempts: "int | None"
    queue: "str"
    remote: "bool"


class Lease(TypedDict):
    """A lease and its job. Report or renew before expires_at."""

    id: "str"
    url: "str"
    worker: "str"
    expires_at: "str"
    job: "Job"


class ListedToken(TypedDict):
    """A token in the owner's list, without its key."""

    id: "str"
    name: "str"
    scope: "TokenScope"
    created_at: "str"
    expires_at: "str | None"
    last_used_on: "str | None"
    current: "bool"


class NewToken(TypedDict):
    """The only response that contains a token's key."""

    token: "str"
    id: "str"
    expires_at: "str | None"
    name: "str"
    scope: "TokenScope"


class Output(TypedDict):
    """The file that the job has produced. size: bytes."""

    url: "str"
    filename: "str"
    content_type: "str"
    size: "int"


class Progress(TypedDict):
    percent: "float"
    message: "str"


class Renewal(TypedDict):
    expires_at: "str"
    cancel_requested: "bool"


class TimelineEntry(TypedDict):
    at: "str"
    type: "str"
    detail: "str"
    provider: "str | None"
