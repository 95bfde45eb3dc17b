"""System checks of the settings of providers, alerts and rates."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.utils.module_loading import import_string

from mail.providers.accounts import Account, accounts

NEEDED = {
    "mailgun": ("api_key", "sender_domain", "webhook_signing_key"),
}
"""Required options, by service. For other services Anymail raises an error when mail is first sent."""


@register
def providers_are_complete(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """A warning for each variable that a provider needs and that is not set."""
    return [warning for account in accounts() for warning in _missing(account)]


@register
def providers_exist(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """An error for each backend that cannot be imported: otherwise a typo is noticed only when mail is sent."""
    return [error for account in accounts() for error in _not_importable(account)]


@register
def alert_recipient_is_valid(app_configs: Any, **options: Any) -> list[CheckMessage]:
    recipient = str(settings.MAIL_ALERT_TO)
    if not recipient or "@" in recipient or recipient.startswith(("http://", "https://")):
        return []
    return [Warning("MAIL_ALERT_TO is neither an e-mail address nor a URL.", id="mail.W002")]


@register
def rates_have_providers(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """A rate of a provider that is not configured has no effect."""
    known = {account.name for account in accounts()}
    return [
        Warning(f"{setting} names {name}, which is neither in MAIL_PROVIDERS nor a domain.", id="mail.W003")
        for setting in ("MAIL_RATES", "MAIL_WARM_UP")
        for name in getattr(settings, setting)
        if name not in known and ("." not in name or setting == "MAIL_WARM_UP")
    ]


def _not_importable(account: Account) -> list[CheckMessage]:
    try:
        import_string(account.backend)
    except ImportError as error:
        problem = f"MAIL_PROVIDERS names {account.name}, whose backend cannot be imported: {error}."
        return [Error(problem, hint="It is a list of Anymail's backends, or of NAME=BACKEND.", id="mail.E001")]
    return []


def _missing(account: Account) -> list[CheckMessage]:
    missing = [option for option in NEEDED.get(account.esp, ()) if not account.options.get(option)]
    names = [f"{account.name}_{option}".upper() for option in missing]
    return [
        Warning(f"{name} is not set, and the mail provider {account.name} needs it.", id="mail.W001") for name in names
    ]
