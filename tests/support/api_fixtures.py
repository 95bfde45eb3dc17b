"""Fixtures: Ada, who has a password, and the API as she calls it.

A test module takes them by `pytest_plugins = ["tests.support.api_fixtures"]`.
"""

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from tests.support.api_clients import client, make_token, make_user


@pytest.fixture
def ada() -> User:
    return make_user("ada")


@pytest.fixture
def api(ada: User) -> APIClient:
    return client(make_token(ada))
