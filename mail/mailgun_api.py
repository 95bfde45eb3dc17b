"""Mailgun's HTTP API besides sending: one connection to one account, for the events and for the suppression lists."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import requests
from django.conf import settings

from mail.accounts import Account, accounts

ESP = "mailgun"
UNREADABLE = (requests.RequestException, ValueError, KeyError, TypeError, AttributeError)
"""What a call raises when the provider does not answer, or not in its documented form."""


class Denied(Exception):
    """The account's API key may not do this (401 or 403): sending keys of Mailgun may only send."""


class MailgunApi:
    """Use it in `with`. Each call raises Denied, or one of UNREADABLE."""

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

    def pages(self, path: str, **wanted: str) -> Iterator[list[dict[str, Any]]]:
        """Each page's items, until the provider has no more. path: below the version, such as DOMAIN/events."""
        page = self._get(f"{self._base}/{path}", wanted)
        while items := page["items"]:
            yield items
            page = self._get(page["paging"]["next"], {})

    def delete(self, domain: str, name: str, address: str) -> bool:
        """Take an address off a suppression list; False when it was not on it."""
        url = f"{self._base}/{domain}/{name}/{quote(address, safe='')}"
        answer = self._session.delete(url, timeout=settings.MAIL_TIMEOUT)
        if answer.status_code == requests.codes.not_found:
            return False
        _check(answer)
        return True

    def _get(self, url: str, wanted: dict[str, str]) -> dict[str, Any]:
        answer = self._session.get(url, params=wanted, timeout=settings.MAIL_TIMEOUT)
        _check(answer)
        page: dict[str, Any] = answer.json()
        return page


def mailgun_accounts() -> list[Account]:
    """Those of settings.MAIL_PROVIDERS that have this API."""
    return [account for account in accounts() if account.esp == ESP]


def _check(answer: requests.Response) -> None:
    if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
        raise Denied(f"{answer.status_code}")
    answer.raise_for_status()
