"""Development's settings for a run of minutes: the guard is off, and what production waits for comes soon."""

from project.logging import logging_config
from settings import env

env.defaults(
    MAIL_GUARD="0",  # half of the mail fails on purpose
    MAIL_TIMEOUT="3",
    MAIL_PROBE_AFTER="0.1",
    MAIL_SETTLED_AFTER="20",
    MAIL_RATES="mailgun=1000/s",
    RATE_LIMIT_PER_MINUTE="60000",
    WORKER_GRACE="2",
)

from settings.development import *  # noqa: E402, F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.mail_chaos"]  # noqa: F405
LOGGING = logging_config(json=True, level=env.text("LOG_LEVEL", "INFO"))
