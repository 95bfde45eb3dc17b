"""What becomes of mail, with real processes: posted over HTTP, sent by a worker, told by the simulator's webhooks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from demo.eventually import eventually
from tests.conftest import make_database
from tests.support.servers.simulator import API_KEY, DOMAIN
from tests.support.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("fates")]

WITHIN = 120


FATES = {
    "ada": ("delivered", ["delivered"]),
    "early": ("delivered", ["delivered"]),
    "doubled": ("delivered", ["delivered"]),
    "defer": ("delivered", ["deferred", "delivered"]),
    "bounce": ("bounced", ["bounced"]),
    "complain": ("complained", ["delivered", "complained"]),
    "reordered": ("complained", ["delivered", "complained"]),
    "reject": ("rejected", ["rejected"]),
    "soft-bounce": ("bounced", ["bounced"]),
    "delayed-soft-bounce": ("bounced", ["delivered", "bounced"]),
    "user-unknown": ("bounced", ["bounced"]),
    "suppressed-bounce": ("rejected", ["rejected"]),
    "suppressed-complaint": ("rejected", ["rejected"]),
    "suppressed-unsubscribe": ("rejected", ["rejected"]),
}
"""By local part: the status, and what is told on the way to it."""


@pytest.fixture(scope="module")
def mail_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("fates")
    with Stack(make_database("fates"), folder, mail=True, env={"WORKERS": "2"}) as stack:
        yield stack


@pytest.fixture(scope="module")
def messages(mail_stack: Stack) -> dict[str, dict[str, Any]]:
    """One message for each outcome, all sent at the same time."""
    return {local_part: posted(mail_stack, f"{local_part}+fate") for local_part in FATES}


def posted(stack: Stack, local_part: str, **fields: Any) -> dict[str, Any]:
    body = {"to": f"{local_part}@example.org", "subject": "Hello", "text": "Hi", **fields}
    message: dict[str, Any] = stack.client().post("mail/messages/", body, expect=202).json()
    return message


def fate(stack: Stack, message: dict[str, Any], status: str, events: Sequence[str] = ()) -> dict[str, Any]:
    """The message as soon as it has this status, and each of these events as often as listed here."""

    def known() -> dict[str, Any] | None:
        found: dict[str, Any] = stack.client().get(f"mail/messages/{message['id']}/", expect=200).json()
        told = sorted(entry["type"] for entry in found["timeline"] if entry["type"] in events)
        return found if found["status"] == status and told == sorted(events) else None

    found = eventually(known, WITHIN, f"{message['to']} being {status}", pause=0.1)
    assert found
    return found


@pytest.mark.parametrize("local_part", FATES)
def test_the_events_of_a_provider_arrive(
    mail_stack: Stack, messages: dict[str, dict[str, Any]], local_part: str
) -> None:
    assert fate(mail_stack, messages[local_part], *FATES[local_part])


def test_no_mail_goes_to_an_address_that_bounced(mail_stack: Stack) -> None:
    fate(mail_stack, posted(mail_stack, "bounce+twice"), "bounced")
    fate(mail_stack, posted(mail_stack, "bounce+twice"), "suppressed")


def test_mail_goes_again_to_an_address_that_bounced_softly(mail_stack: Stack) -> None:
    fate(mail_stack, posted(mail_stack, "soft-bounce+again"), "bounced")
    # The second finds the address on the simulated provider's list, but not on ours: it is tried.
    fate(mail_stack, posted(mail_stack, "soft-bounce+again"), "rejected")


def test_lifting_a_suppression_lifts_it_at_the_provider_too(mail_stack: Stack) -> None:
    address = "bounce+lifted@example.org"
    listed = f"{mail_stack.env['MAILGUN_API_URL']}/{DOMAIN}/bounces/{address}"
    fate(mail_stack, posted(mail_stack, "bounce+lifted"), "bounced")
    assert requests.get(listed, auth=("api", API_KEY), timeout=30).ok
    operator = mail_stack.client("operator")
    mail_stack.run_code(
        "from django.contrib.auth.models import User; User.objects.filter(username='operator').update(is_staff=True)",
    )
    operator.delete(f"mail/suppressions/{address}/", expect=204)
    eventually(lambda: not requests.get(listed, auth=("api", API_KEY), timeout=30).ok, WITHIN, "the lift at Mailgun")
    again = fate(mail_stack, posted(mail_stack, "bounce+lifted"), "bounced", ["bounced"])
    assert "does not exist" in again["failure"]["detail"]  # the recipient's server said so, and not Mailgun's list


def test_opens_and_clicks_are_counted(mail_stack: Stack) -> None:
    message = posted(mail_stack, "click+counted")
    fate(mail_stack, message, "delivered")

    def counted() -> bool:
        found = mail_stack.client().get(f"mail/messages/{message['id']}/", expect=200).json()
        return (found["opens"], found["clicks"]) == (1, 1)

    eventually(counted, WITHIN, "one open and one click", pause=0.1)
