"""Mail of a sender whom the provider refuses, over real HTTP."""

from typing import Any

import pytest

from mail.models import Alert, Provider, RefusedSender
from tests.support.mail.messages import make_message
from tests.support.mail.sending import classes, provider, sending_by, work_on, work_until_it_rests
from tests.support.servers.simulator import DOMAIN, Simulator

pytest_plugins = ["tests.support.mail.simulator_fixtures"]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _probed_soon(mailgun: Simulator, settings: Any) -> None:
    settings.MAIL_PROBE_AFTER = 0.2


def test_a_refused_sender_waits_and_the_mail_of_others_goes_on(mailgun: Simulator) -> None:
    mailgun.fault("403")
    refused, waiting = (make_message(sender="News <news@refused.example>") for _ in range(2))
    assert work_on(refused) > 0
    assert classes(refused) == [("permanent", "sender")]
    assert "verify refused.example" in Alert.objects.get().detail
    assert work_on(waiting) > 0
    assert not waiting.attempts.exists(), "the provider is not called again for this sender"

    good = make_message(sender=f"l@{DOMAIN}")
    assert work_on(good) == 0
    assert good.status == "sent"
    assert not Provider.objects.get().opened_at


def test_a_refused_sender_s_mail_is_sent_once_its_domain_is_verified(mailgun: Simulator) -> None:
    mailgun.fault("403")
    refused = make_message()
    assert work_on(refused) > 0
    work_until_it_rests(refused)
    assert refused.status == "sent"
    assert not RefusedSender.objects.exists()


def test_another_provider_takes_the_mail_of_a_refused_sender(mailgun: Simulator, settings: Any) -> None:
    mailgun.fault("403")
    with sending_by(settings, provider(mailgun.api_url), provider(mailgun.api_url, "second")):
        work_on(message := make_message())
        work_on(next_one := make_message())
    assert classes(message) == [("permanent", "sender"), ("accepted", "")]
    assert (next_one.provider, classes(next_one)) == ("second", [("accepted", "")])
