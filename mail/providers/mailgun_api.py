"""Mailgun's HTTP API for events and suppression lists: one connection to one account."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import requests
from django.conf import settings

from mail.providers.accounts import Account, accounts

ESP = "mailgun"


class Denied(Exception):
    """The account's API key may not do this (401 or 403): a sending key of Mailgun may only send."""


class NoAnswer(Exception):
    """The provider did not answer, or not in its documented form. Its text is the name of the error."""


class MailgunApi:
    """A context manager. Each call may raise Denied or NoAnswer."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._base = str(account.options.get("api_url") or "https://api.mailgun.net/v3").rstrip("/")
        self._session = requests.Session()
        self._session.auth = ("api", str(account.options.get("api_key", "")))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def pages(self, path: str, **query: str) -> Iterator[list[dict[str, Any]]]:
        """The items of each page, until the provider has no more. path: below the version, such as DOMAIN/events."""
        items, next_url = self._page(f"{self._base}/{path}", query)
        while items:
            yield items
            items, next_url = self._page(next_url, {})

    def delete(self, domain: str, name: str, address: str) -> bool:
        """Remove an address from a suppression list; False if it was not on it."""
        url = f"{self._base}/{domain}/{name}/{quote(address, safe='')}"
        return bool(self._call("DELETE", url, {}).status_code != requests.codes.not_found)

    def _page(self, url: str, query: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
        """The items and the URL of the next page, which the last page may lack."""
        answer = self._call("GET", url, query)
        try:
            answer.raise_for_status()
            page = answer.json()
            items: list[dict[str, Any]] = list(page["items"])
            return items, str(page["paging"]["next"]) if items else ""
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise NoAnswer(type(error).__name__) from error

    def _call(self, method: str, url: str, query: dict[str, str]) -> requests.Response:
        """The answer. Raises Denied or NoAnswer for an error; 404 is not one."""
        try:
            answer = self._session.request(method, url, params=query, timeout=settings.MAIL_TIMEOUT)
            if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
                raise Denied(str(answer.status_code))
            if answer.status_code != requests.codes.not_found:
                answer.raise_for_status()
        except requests.RequestException as error:
            raise NoAnswer(type(error).__name__) from error
        return answer


def mailgun_accounts() -> list[Account]:
    """Those of settings.MAIL_PROVIDERS that are Mailgun's."""
    return [account for account in accounts() if account.esp == ESP]


def has_events_api(account: Account | None) -> bool:
    """True if the provider can be asked for the events of an attempt. Only Mailgun's API is implemented."""
    return account is not None and account.esp == ESP
