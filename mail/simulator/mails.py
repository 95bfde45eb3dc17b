"""A mail that somebody asks Mailgun to send, read from the form and checked as Mailgun checks it. Pure."""

import secrets
import time
from dataclasses import dataclass, field

import orjson

from mail.simulator.addresses import Address, read_addresses
from mail.simulator.dates import read_date
from mail.simulator.forms import File, Form
from mail.simulator.http import RefusedError

MOST_RECIPIENTS = 1000
MOST_TAGS = 3
MOST_BYTES = 25 * 1024 * 1024
MOST_OPTION_BYTES = 16 * 1024
"""Of all o:, h: and v: parameters together."""
BODIES = ("text", "html", "amp-html", "template")


@dataclass(slots=True)
class Mail:
    """`id` is Mailgun's, without its angle brackets; `at` and `deliver_at` are seconds since the epoch."""

    id: str
    domain: str
    at: float
    sender: Address
    to: list[Address]
    cc: list[Address]
    bcc: list[Address]
    subject: str
    text: str
    html: str
    headers: dict[str, str]
    variables: dict[str, str]
    recipient_variables: dict[str, dict[str, str]]
    tags: list[str]
    options: dict[str, str]
    files: list[File]
    deliver_at: float
    test_mode: bool
    size: int
    forgotten: bool = field(default=False)

    @property
    def recipients(self) -> list[Address]:
        """Each once, however often it is named."""
        return list({address.spec.lower(): address for address in [*self.to, *self.cc, *self.bcc]}.values())

    def recipient(self, spec: str) -> Address:
        """The one with this address; the first if there is none."""
        return next((address for address in self.recipients if address.spec == spec), self.recipients[0])

    def variables_for(self, recipient: Address) -> dict[str, str]:
        """The v: parameters, with what `%recipient.KEY%` stands for."""
        own = self.recipient_variables.get(recipient.spec, {})
        return {name: _filled(value, own) for name, value in self.variables.items()}

    def forget(self) -> None:
        """Drops what takes room; who, when and what became of it stays known."""
        self.text = self.html = ""
        self.files = []
        self.forgotten = True


def read_mail(form: Form, domain: str, size: int, now: float) -> Mail:
    """RefusedError (400 or 413) in words like Mailgun's."""
    if size > MOST_BYTES:
        raise RefusedError(413, "Message exceeds the maximum size of 25 MB")
    _check_options(form)
    sender = _required(form, "from")[0]
    mail = Mail(
        id=f"{time.strftime('%Y%m%d%H%M%S', time.gmtime(now))}.{secrets.token_hex(8)}@{domain}",
        domain=domain,
        at=now,
        sender=sender,
        to=_required(form, "to"),
        cc=read_addresses("cc", form.all("cc")),
        bcc=read_addresses("bcc", form.all("bcc")),
        subject=form.first("subject"),
        text=form.first("text"),
        html=form.first("html"),
        headers=form.starting("h:"),
        variables=_variables(form),
        recipient_variables=_recipient_variables(form),
        tags=form.all("o:tag"),
        options=form.starting("o:"),
        files=form.files,
        deliver_at=read_date("o:deliverytime", form.first("o:deliverytime")) or now,
        test_mode=form.first("o:testmode") in ("yes", "true", "True"),
        size=size,
    )
    if len(mail.recipients) > MOST_RECIPIENTS:
        raise RefusedError(400, f"too many recipients: {MOST_RECIPIENTS} is the maximum")
    return mail


def _check_options(form: Form) -> None:
    if not any(form.first(name) for name in BODIES):
        raise RefusedError(400, "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified")
    if len(form.all("o:tag")) > MOST_TAGS:
        raise RefusedError(400, f"too many tags: {MOST_TAGS} is the maximum")
    options = {name: values for name, values in form.fields.items() if name.startswith(("o:", "h:", "v:"))}
    size = sum(len(name.encode()) + len(value.encode()) for name, values in options.items() for value in values)
    if size > MOST_OPTION_BYTES:
        raise RefusedError(400, f"o:, h: and v: parameters take {size} bytes: {MOST_OPTION_BYTES} is the maximum")


def _required(form: Form, name: str) -> list[Address]:
    if not form.all(name):
        raise RefusedError(400, f"'{name}' parameter is missing")
    addresses = read_addresses(name, form.all(name))
    if not addresses:
        raise RefusedError(400, f"{name} parameter is not a valid address. please check documentation")
    return addresses


def _variables(form: Form) -> dict[str, str]:
    header = _json_object(form.first("h:X-Mailgun-Variables") or "{}", "h:X-Mailgun-Variables")
    return {**{name: _plain(value) for name, value in header.items()}, **form.starting("v:")}


def _recipient_variables(form: Form) -> dict[str, dict[str, str]]:
    given = _json_object(form.first("recipient-variables") or "{}", "recipient-variables")
    if not all(isinstance(own, dict) for own in given.values()):
        raise RefusedError(400, "recipient-variables parameter is not a JSON object of objects")
    return {
        spec: {name: _plain(value) for name, value in own.items()}
        for spec, own in given.items()
        if isinstance(own, dict)
    }


def _json_object(given: str, name: str) -> dict[str, object]:
    try:
        found = orjson.loads(given)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise RefusedError(400, f"{name} parameter is not valid JSON")
    return found


def _plain(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _filled(value: str, own: dict[str, str]) -> str:
    for name, replacement in own.items():
        value = value.replace(f"%recipient.{name}%", replacement)
    return value
