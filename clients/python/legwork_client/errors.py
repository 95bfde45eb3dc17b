"""What can go wrong: one class per cause, all of them LegworkErrors."""

from typing import Any

import httpx

from legwork_client.types import Job


class LegworkError(Exception):
    """Base class of this package's errors."""


class Unreachable(LegworkError):
    """No answer, in spite of retries: no connection, a cut connection, or a timeout."""


class ApiError(LegworkError):
    """The API refused. status, headers, and the members of the problem document (RFC 9457)."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.problem = _problem(response)
        self.code: str | None = self.problem.get("code")
        self.errors: list[dict[str, str]] = self.problem.get("errors", [])
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        detail = self.problem.get("detail") or self.problem.get("title") or "no details"
        fields = [f"{error['field'] or 'body'}: {error['detail']}" for error in self.errors]
        return " ".join([f"{self.status}: {detail}", *fields])


class BadRequest(ApiError):
    """400: the input is not valid; `errors` says which field and why."""


class NotAuthenticated(ApiError):
    """401: the token is missing, wrong or expired."""


class Forbidden(ApiError):
    """403: this user or this token may not do that."""


class NotFound(ApiError):
    """404: there is nothing, or it is not yours."""


class Conflict(ApiError):
    """409: the present state does not allow it. location: of the resource in the way, if there is one."""

    @property
    def location(self) -> str | None:
        location: str | None = self.headers.get("Location")
        return location


class Gone(ApiError):
    """410: the lease is lost or finished."""


class Unprocessable(ApiError):
    """422: the idempotency key was used for something else, or the address is suppressed."""


class TooManyRequests(ApiError):
    """429, in spite of retries."""


class ServerError(ApiError):
    """5xx, in spite of retries."""


class WaitTimeout(LegworkError, TimeoutError):
    """It had not finished when the time was over."""


class JobNotSucceeded(LegworkError):
    """The job failed or was cancelled."""

    def __init__(self, job: Job) -> None:
        error = job["error"]
        super().__init__(f"job {job['id']} {job['status']}" + (f": {error['message']}" if error else ""))
        self.job = job


_CLASSES: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: NotAuthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Unprocessable,
    429: TooManyRequests,
}


def error_for(response: httpx.Response) -> ApiError:
    """The error of an answer with a status of 400 or more, whose body has been read."""
    default = ServerError if response.status_code >= 500 else ApiError
    return _CLASSES.get(response.status_code, default)(response)


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"title": response.reason_phrase}
