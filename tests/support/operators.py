"""Operators of the admin, with all permissions or with some."""

from django.contrib.auth.models import Permission, User
from django.test import Client


def make_operator(*permissions: str, name: str = "operator") -> Client:
    """A browser that is logged in. permissions: app.codename of each; with none the operator may do everything."""
    user = User.objects.create_user(name, is_staff=True, is_superuser=not permissions)
    for permission in permissions:
        app, _, codename = permission.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    browser = Client()
    browser.force_login(user)
    return browser
