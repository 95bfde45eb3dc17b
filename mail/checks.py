"""What a provider needs before mail can be sent by it: a system check says what is missing."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.utils.module_loading import import_string

from mail.providers.accounts import Account, accounts

NEEDED = {
    "mailgun": ("api_key", "sender_domain", "webhook_signing_key"),
}
"""Options by service. Of the others Anymail says itself what is missing, when they are first used."""


@register
def providers_are_complete(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Of each provider, which of its variables are not set."""
    return [warning for found in accounts() for warning in _missing(found)]


@register
def providers_exist(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Of each provider, whether its backend can be imported: a name that is mistyped would be noticed by mail alone."""
    return [error for found in accounts() for error in _not_importable(found)]


@register
def alerts_are_heard(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """An alert that nobody is told is only in the log."""
    told = str(settings.MAIL_ALERT_TO)
    if not told or "@" in told or told.startswith(("http://", "https://")):
        return []
    return [Warning("MAIL_ALERT_TO is neither an e-mail address nor a URL.", id="mail.W002")]


@register
def rates_have_providers(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """A rate of a provider that does not exist bounds nothing."""
    known = {found.name for found in accounts()}
    return [
        Warning(f"{setting} names {name}, which is neither in MAIL_PROVIDERS nor a domain.", id="mail.W003")
        for setting in ("MAIL_RATES", "MAIL_WARM_UP")
        for name in getattr(settings, setting)
        if name not in known and ("." not in name or setting == "MAIL_WARM_UP")
    ]


def _not_importable(found: Account) -> list[CheckMessage]:
    try:
        import_string(found.backend)
    except ImportError as error:
        said = f"MAIL_PROVIDERS names {found.name}, whose backend cannot be imported: {error}."
        return [Error(said, hint="It is a list of Anymail's backends, or of NAME=BACKEND.", id="mail.E001")]
    return []


def _missing(found: Account) -> list[CheckMessage]:
    names = [f"{found.name}_{option}".upper() for option in NEEDED.get(found.esp, ()) if not found.options.get(option)]
    return [
        Warning(f"{name} is not set, and the mail provider {found.name} needs it.", id="mail.W001") for name in names
    ]
