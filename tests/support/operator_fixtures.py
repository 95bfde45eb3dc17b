"""Fixtures: an operator who may do everything, in the admin and in the API.

A test module takes them by `pytest_plugins = ["tests.support.operator_fixtures"]`.
"""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from tests.support.api_clients import client, make_token, make_user
from tests.support.operators import make_operator


@pytest.fixture
def operator() -> Client:
    return make_operator()


@pytest.fixture
def operator_api() -> APIClient:
    return client(make_token(make_user("operator", is_staff=True)))
