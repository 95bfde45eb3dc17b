"""Q_CLUSTER: which of django-q's settings are used, which are ignored, and which stop the start, each in a sentence."""

from typing import Any

import pytest
from django.conf import settings
from django.core.checks import ERROR, WARNING
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django_q import conf

from jobs.django_q.settings import IGNORED, REFUSED, USED, problems


def test_our_own_settings_are_all_used() -> None:
    assert problems(settings.Q_CLUSTER) == []


@pytest.mark.parametrize("name", IGNORED)
def test_a_setting_that_has_no_meaning_here_is_named_with_what_replaces_it(name: str) -> None:
    [message] = problems(settings.Q_CLUSTER | {name: 1})
    assert (message.level, message.msg) == (WARNING, f"Q_CLUSTER['{name}'] is ignored: {IGNORED[name]}.")


@pytest.mark.parametrize("name", REFUSED)
def test_a_setting_that_names_another_broker_is_refused(name: str) -> None:
    [message] = problems(settings.Q_CLUSTER | {name: {"host": "here"}})
    assert message.level == ERROR
    assert message.msg == f"Q_CLUSTER['{name}'] is not used: remove it and set BROKER_URL instead."


@pytest.mark.parametrize("broker_class", [None, "django_q.brokers.orm.ORM", "jobs.brokers.orm.Orm", "nowhere"])
def test_a_broker_that_is_not_ours_is_refused(broker_class: str | None) -> None:
    [message] = problems(settings.Q_CLUSTER | {"broker_class": broker_class})
    assert message.level == ERROR
    assert "it must be BROKER['class']" in message.msg


def test_an_unknown_setting_is_named_with_the_one_that_is_meant() -> None:
    [message] = problems(settings.Q_CLUSTER | {"max_attemps": 2})
    assert message.msg == "Q_CLUSTER['max_attemps'] is not a setting of django-q; did you mean 'max_attempts'?"


def test_alternative_clusters_are_looked_at_as_well() -> None:
    [message] = problems(settings.Q_CLUSTER | {"ALT_CLUSTERS": {"mail": {"queue_limit": 3}}})
    assert message.msg.startswith("Q_CLUSTER['ALT_CLUSTERS']['mail']['queue_limit'] is ignored")


def test_every_setting_that_django_q_reads_is_used_ignored_or_refused() -> None:
    with open(conf.__file__) as source:
        read = {part.split('"')[1] for part in source.read().split("conf.get(")[1:] if part.startswith('"')}
    assert len(read) > 30
    assert read <= USED | IGNORED.keys() | set(REFUSED)


def test_a_wrong_setting_stops_the_commands_with_its_sentence(settings: Any) -> None:
    settings.Q_CLUSTER = settings.Q_CLUSTER | {"redis": {"host": "here"}}
    with pytest.raises(SystemCheckError, match="set BROKER_URL instead"):
        call_command("check")
