"""The API's conventions as a Django app, which has a table: answers kept for Idempotency-Keys."""

from django.apps import AppConfig


class RestConfig(AppConfig):
    name = "rest"
    verbose_name = "API"
