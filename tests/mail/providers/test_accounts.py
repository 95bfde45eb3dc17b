"""Accounts at providers, as the settings name them."""

from typing import Any

from mail.providers.accounts import Account


def test_domains_that_it_sends_from_are_compared_in_lower_case(settings: Any) -> None:
    settings.MAIL_FROM, settings.MAIL_FROM_DOMAINS = "Legwork <mail@Example.org>", ["News.Example.org", "example.org"]
    account = Account("main", "anymail.backends.mailgun.EmailBackend", {})
    assert account.domains == ["example.org", "news.example.org"]
