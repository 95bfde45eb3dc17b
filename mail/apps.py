"""The Django app of e-mail. jobs.apps imports its kinds and its maintenance tasks."""

from django.apps import AppConfig
from django.utils.module_loading import import_string


class MailConfig(AppConfig):
    name = "mail"

    def ready(self) -> None:
        # Importing the module registers all checks; it needs the models to be loaded.
        import_string("mail.checks.providers_are_complete")
