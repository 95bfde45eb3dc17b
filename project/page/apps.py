"""The app of the page, so that Django finds its template and its static files."""

from django.apps import AppConfig


class PageConfig(AppConfig):
    name = "project.page"
    verbose_name = "Page"
