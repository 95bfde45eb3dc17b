"""A plain REST client of Legwork: HTTP and a token, no knowledge of the server's code."""

import time
from collections.abc import Iterator
from typing import Any, Self

import requests

FINAL = frozenset({"succeeded", "failed", "cancelled"})


class UnexpectedAnswerError(Exception):
    """The API gave another response than expected."""


class Client:
    """Takes paths relative to /api/v1/, and complete URLs as the API returns them."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._root = f"{url}/api/v1/"
        self._session = requests.Session()
        if token:
            self._session.headers["Authorization"] = f"Token {token}"

    @classmethod
    def login(cls, url: str, username: str, password: str) -> Self:
        answer = cls(url).post("tokens/", {"username": username, "password": password}, expect=201)
        return cls(url, answer.json()["token"])

    def get(self, path: str, *, expect: int | None = None, **options: Any) -> requests.Response:
        return self.request("GET", path, expect=expect, **options)

    def post(self, path: str, json: Any = None, *, expect: int | None = None, **options: Any) -> requests.Response:
        return self.request("POST", path, expect=expect, json=json, **options)

    def delete(self, path: str, *, expect: int | None = None, **options: Any) -> requests.Response:
        return self.request("DELETE", path, expect=expect, **options)

    def request(self, method: str, path: str, *, expect: int | None = None, **options: Any) -> requests.Response:
        """Raises UnexpectedAnswerError for any status other than `expect`, if given."""
        url = path if path.startswith("http") else self._root + path
        answer = self._session.request(method, url, **{"timeout": 60, **options})
        if expect and answer.status_code != expect:
            raise UnexpectedAnswerError(f"{method} {url}: {answer.status_code}, not {expect}: {answer.text[:500]}")
        return answer

    def follow(self, url: str, within: float) -> Iterator[dict[str, Any]]:
        """Yield the job whenever it has changed, until it has finished. Polls as often as Retry-After allows."""
        deadline = time.monotonic() + within
        etag = ""
        while True:
            answer = self.get(url, headers={"If-None-Match": etag})
            if answer.status_code != 304:
                etag = answer.headers["ETag"]
                job = answer.json()
                yield job
                if job["status"] in FINAL:
                    return
            if time.monotonic() > deadline:
                raise UnexpectedAnswerError(f"{url} has not finished after {within:g} s.")
            time.sleep(float(answer.headers["Retry-After"]))
