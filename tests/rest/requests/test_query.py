"""Query parameters that a view does not take are errors, on every view of the API."""

import pytest
from django.test import Client

OPEN_TO_ALL = ["", "session/", "schema/", "docs/"]
"""Views that ask for no credentials."""


@pytest.mark.django_db
@pytest.mark.parametrize("path", OPEN_TO_ALL)
def test_an_unknown_query_parameter_is_refused_without_credentials(client: Client, path: str) -> None:
    response = client.get(f"/api/v1/{path}", {"colour": "red"})
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    (error,) = response.json()["errors"]
    assert (error["field"], error["code"]) == ("colour", "unknown")


@pytest.mark.django_db
@pytest.mark.parametrize("path", OPEN_TO_ALL)
def test_without_query_parameters_all_is_as_documented(client: Client, path: str) -> None:
    assert client.get(f"/api/v1/{path}").status_code == 200


@pytest.mark.django_db
def test_the_schema_takes_the_parameters_of_its_clients(client: Client) -> None:
    assert client.get("/api/v1/schema/", {"format": "json", "lang": "en"}).status_code == 200
