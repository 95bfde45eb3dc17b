"""All providers of the table, and docs/mail-failures.md as it is written from it."""

from collections.abc import Iterator
from pathlib import Path

from mail.failure import FailureClass
from tests.provider_cases import Answered, Provider, Told
from tests.provider_cases.amazon_ses import AMAZON_SES
from tests.provider_cases.brevo import BREVO
from tests.provider_cases.follows import FOLLOWS, IMPORTANCES, NO_SUPPRESSION
from tests.provider_cases.mailgun import MAILGUN
from tests.provider_cases.mailjet import MAILJET
from tests.provider_cases.postmark import POSTMARK
from tests.provider_cases.sendgrid import SENDGRID
from tests.provider_cases.sparkpost import SPARKPOST

PROVIDERS = (MAILGUN, AMAZON_SES, POSTMARK, SENDGRID, BREVO, MAILJET, SPARKPOST)
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "mail-failures.md"

HEAD = """# What failures of mail lead to

Written by `python -m tests.provider_cases` from the cases of `tests/mail/policy/test_decision_provider_cases.py`:
each payload goes through the provider's webhook, each answer comes from an HTTP server to Anymail's backend, and what
becomes of a critical, a normal and a bulk message is compared with this page. Do not edit it: change the cases and
write it again.

The rules are in three places: what providers and servers mean by their words (`mail/events/provider_reasons.py`,
`mail/sending/error_codes.py`, `mail/smtp/sentences.py`), the classes of failures (`mail/failure.py`), and what is
done about each class (`mail/policy/rules.py`). [mail-lifecycle.md](mail-lifecycle.md#policy) shows that table with
its waits.

- A reply of class 4 (`450`, `4.2.1`), and whatever a provider calls transient or soft, is never a hard bounce.
- *A strike*: three soft bounces in a row over more than 14 days suppress the address for 90 days, three full mailboxes
  in a row for 30 days. A delivery resets the count.
- A single block slows nothing down. When mail to three addresses of a domain was blocked within an hour, bulk mail to
  that domain waits for 15 minutes, with the alert `domain_slowed_down`.
- Critical mail that bounces softly after it was delivered raises an alert at once and is sent again.
- A provider whose refusal sends a message to another provider is never given that message again.
"""

CLASSES = """
## Classes

What becomes of a message if another provider can take it; in brackets, if there is no other.

| Class | Meaning | Suppression | Provider | Critical | Normal | Bulk |
|---|---|---|---|---|---|---|
"""

EVENTS = "\n### Events\n\n| Event | Class | Suppression | Critical | Normal | Bulk |\n|---|---|---|---|---|---|\n"
ANSWERS = (
    "\n### Answers of the API\n\n| Answer | Class | Provider | Critical | Normal | Bulk |\n|---|---|---|---|---|---|\n"
)


def document() -> str:
    """The whole page."""
    classes = "".join(f"{_class(kind)}\n" for kind in FailureClass)
    return HEAD + CLASSES + classes + "".join(_provider(provider) for provider in PROVIDERS)


def _class(kind: str) -> str:
    follows = FOLLOWS[kind]
    cells = []
    for importance in IMPORTANCES:
        cell, alone = follows.cell(importance), follows.cell(importance, alone=True)
        cells.append(cell if cell == alone else f"{cell} ({alone})")
    return _row(f"`{kind}`", follows.meaning, follows.suppression, follows.provider, *cells)


def _provider(provider: Provider) -> str:
    events = "".join(f"{row}\n" for row in _events(provider.events))
    answers = "".join(f"{row}\n" for row in _answers(provider.answers))
    note = f"\n{provider.note}\n" if provider.note else ""
    return f"\n## {provider.name}\n{note}{EVENTS}{events}{ANSWERS}{answers}"


def _events(events: tuple[Told, ...]) -> Iterator[str]:
    for told in events:
        follows = FOLLOWS[told.kind]
        cells = [follows.cell(importance, told.status) for importance in IMPORTANCES]
        yield _row(told.said, f"`{told.kind}`" if told.kind else "", follows.suppression, *cells)


def _answers(answers: tuple[Answered, ...]) -> Iterator[str]:
    for answered in answers:
        follows = FOLLOWS[answered.kind]
        pause = f"{follows.provider} of {answered.pause} s" if answered.pause else follows.provider
        cells = [follows.cell(importance) for importance in IMPORTANCES]
        yield _row(answered.said, f"`{answered.kind}`", pause, *cells)


def _row(*cells: str) -> str:
    shown = ("" if cell == NO_SUPPRESSION else cell.replace("|", "\\|").strip() for cell in cells)
    return f"| {' | '.join(shown)} |"
