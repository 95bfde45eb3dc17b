"""E-mail as a Django app. Its kinds of job and its chores are found by jobs.apps."""

from django.apps import AppConfig
from django.utils.module_loading import import_string


class MailConfig(AppConfig):
    name = "mail"

    def ready(self) -> None:
        import_string("mail.checks.providers_are_complete")  # registers all of them; models are known only now
