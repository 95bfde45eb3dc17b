"""Mailgun's HTTP API besides sending: one connection to one account, for the events and for the suppression lists."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import requests
from django.conf import settings

from mail.providers.accounts import Account, accounts

ESP = "mailgun"


class Denied(Exception):
    """The account's API key may not do this (401 or 403): sending keys of Mailgun may only send."""


class NoAnswer(Exception):
    """The provider did not answer, or not in its documented form. Says what went wrong: the name of an error."""


class MailgunApi:
    """Use it in `with`. Each call raises Denied or NoAnswer."""

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
        items, following = self._page(f"{self._base}/{path}", wanted)
        while items:
            yield items
            items, following = self._page(following, {})

    def delete(self, domain: str, name: str, address: str) -> bool:
        """Take an address off a suppression list; False when it was not on it."""
        url = f"{self._base}/{domain}/{name}/{quote(address, safe='')}"
        return bool(self._call("DELETE", url, {}).status_code != requests.codes.not_found)

    def _page(self, url: str, wanted: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
        """The items, and the URL of the next page, which may be left out after the last one."""
        answer = self._call("GET", url, wanted)
        try:
            answer.raise_for_status()
            page = answer.json()
            items: list[dict[str, Any]] = list(page["items"])
            return items, str(page["paging"]["next"]) if items else ""
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise NoAnswer(type(error).__name__) from error

    def _call(self, method: str, url: str, wanted: dict[str, str]) -> requests.Response:
        """Any answer that is no error but 404."""
        try:
            answer = self._session.request(method, url, params=wanted, timeout=settings.MAIL_TIMEOUT)
            if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
                raise Denied(str(answer.status_code))
            if answer.status_code != requests.codes.not_found:
                answer.raise_for_status()
        except requests.RequestException as error:
            raise NoAnswer(type(error).__name__) from error
        return answer


def mailgun_accounts() -> list[Account]:
    """Those of settings.MAIL_PROVIDERS that have this API."""
    return [account for account in accounts() if account.esp == ESP]
