"""What all lists of the site have in common."""

import re

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from mail.models import Message
from tests.support.mail.messages import make_message

pytest_plugins = ["tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.label)
def test_a_list_has_the_name_of_what_it_lists_as_title(operator: Client, model: type[Model]) -> None:
    text = operator.get(list_of(model)).content.decode()
    [title] = re.findall(r"<title>\s*(.*?)\s*</title>", text, re.DOTALL)
    assert title.lower() == f"{model._meta.verbose_name_plural} | legwork".lower()


def test_what_was_searched_for_is_counted_beside_a_link_to_everything(operator: Client) -> None:
    make_message()
    counted = "1 result (<a"
    assert counted in operator.get(list_of(Message), {"status__exact": "queued"}).content.decode()
    assert counted not in operator.get(list_of(Message)).content.decode()


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
