"""E-mail as a Django app. Its kinds of job and its chores are found by jobs.apps."""

from django.apps import AppConfig


class MailConfig(AppConfig):
    name = "mail"
