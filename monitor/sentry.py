"""Reports errors to Sentry. Imported only with settings.SENTRY_DSN: the SDK takes some MiB of every process."""

import sentry_sdk
from django.conf import settings


def start() -> None:
    """Errors of requests, and what is logged as an error, with its traceback. Personal data is not sent."""
    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        release=settings.RELEASE or None,
        environment=settings.SENTRY_ENVIRONMENT,
        send_default_pii=False,
        traces_sample_rate=0.0,
    )
