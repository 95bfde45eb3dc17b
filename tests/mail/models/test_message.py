"""A message's status: what one transition allows, and that a second one of the same kind changes nothing."""

from itertools import product

import pytest

from mail.errors import NotSendable
from mail.models import Message
from mail.status import PRECEDENCE, TERMINAL, Status
from tests.support.mail.messages import make_message

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("before", "after"), list(product(Status, Status)))
def test_a_status_replaces_those_of_lower_precedence_only(before: Status, after: Status) -> None:
    message = make_message(before)
    finished_at = message.finished_at
    replaces = PRECEDENCE[before] < PRECEDENCE[after]

    assert message.advance_to(after) is replaces

    stored = Message.objects.get()
    assert message.status == stored.status == (after if replaces else before)
    if not replaces:
        assert stored.finished_at == finished_at
    assert (stored.finished_at is None) == (stored.status not in TERMINAL)


def test_no_attempt_of_a_message_begins_that_was_made_to_wait_for_its_release() -> None:
    message = make_message()
    Message.objects.update(awaits_release=True)
    with pytest.raises(NotSendable):
        message.begin_attempt("mailgun")
    message.refresh_from_db()
    assert message.status == "queued"
    assert not message.attempts.exists()
