"""The Django app of the API's conventions. Its only table stores responses by Idempotency-Key."""

from django.apps import AppConfig


class RestConfig(AppConfig):
    name = "rest"
    verbose_name = "API"
