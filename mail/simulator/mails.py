"""Mails that clients ask Mailgun to send: parsed and checked as Mailgun does, and kept for people and tests to see."""

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from mail.simulator.forms import Address, File, Form, read_addresses, read_date
from mail.simulator.http import RequestError

MAX_RECIPIENTS = 1000
MAX_TAGS = 3
MAX_MAIL_BYTES = 25 * 1024 * 1024
MAX_OPTION_BYTES = 16 * 1024
"""Of all o:, h: and v: parameters together."""
BODIES = ("text", "html", "amp-html", "template")
MAX_KEPT = 20_000
MAX_KEPT_BYTES = 64 * 1024 * 1024
"""Of bodies and attachments together."""


@dataclass(slots=True)
class Mail:
    """`id` is Mailgun's, without angle brackets. `at` and `deliver_at` are seconds since the epoch."""

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
    content_dropped: bool = False

    @property
    def recipients(self) -> list[Address]:
        """Without duplicates."""
        return list({address.spec.lower(): address for address in [*self.to, *self.cc, *self.bcc]}.values())

    def recipient(self, spec: str) -> Address:
        """The one with this address, or else the first."""
        return next((address for address in self.recipients if address.spec == spec), self.recipients[0])

    def variables_for(self, recipient: Address) -> dict[str, str]:
        """The v: parameters, with `%recipient.KEY%` replaced."""
        own = self.recipient_variables.get(recipient.spec, {})
        variables = self.variables
        for key, replacement in own.items():
            variables = {name: value.replace(f"%recipient.{key}%", replacement) for name, value in variables.items()}
        return dict(variables)

    def drop_content(self) -> None:
        """Free the memory of bodies and files; the rest stays."""
        self.text = self.html = ""
        self.files = []
        self.content_dropped = True


def parse_mail(form: Form, domain: str, size: int, now: float) -> Mail:
    """Raises RequestError (400 or 413) in words like Mailgun's."""
    if size > MAX_MAIL_BYTES:
        raise RequestError(413, "Message exceeds the maximum size of 25 MB")
    _check_options(form)
    sender = _required_addresses(form, "from")[0]
    mail = Mail(
        id=f"{time.strftime('%Y%m%d%H%M%S', time.gmtime(now))}.{secrets.token_hex(8)}@{domain}",
        domain=domain,
        at=now,
        sender=sender,
        to=_required_addresses(form, "to"),
        cc=read_addresses("cc", form.all("cc")),
        bcc=read_addresses("bcc", form.all("bcc")),
        subject=form.first("subject"),
        text=form.first("text"),
        html=form.first("html"),
        headers=form.with_prefix("h:"),
        variables=_variables(form),
        recipient_variables=_recipient_variables(form),
        tags=form.all("o:tag"),
        options=form.with_prefix("o:"),
        files=form.files,
        deliver_at=read_date("o:deliverytime", form.first("o:deliverytime")) or now,
        test_mode=form.first("o:testmode") in ("yes", "true", "True"),
        size=size,
    )
    if len(mail.recipients) > MAX_RECIPIENTS:
        raise RequestError(400, f"too many recipients: {MAX_RECIPIENTS} is the maximum")
    return mail


def _check_options(form: Form) -> None:
    if not any(form.first(name) for name in BODIES):
        raise RequestError(400, "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified")
    if len(form.all("o:tag")) > MAX_TAGS:
        raise RequestError(400, f"too many tags: {MAX_TAGS} is the maximum")
    options = {name: values for name, values in form.fields.items() if name.startswith(("o:", "h:", "v:"))}
    size = sum(len(name.encode()) + len(value.encode()) for name, values in options.items() for value in values)
    if size > MAX_OPTION_BYTES:
        raise RequestError(400, f"o:, h: and v: parameters take {size} bytes: {MAX_OPTION_BYTES} is the maximum")


def _required_addresses(form: Form, name: str) -> list[Address]:
    if not form.all(name):
        raise RequestError(400, f"'{name}' parameter is missing")
    addresses = read_addresses(name, form.all(name))
    if not addresses:
        raise RequestError(400, f"{name} parameter is not a valid address. please check documentation")
    return addresses


def _variables(form: Form) -> dict[str, str]:
    header = _json_object(form, "h:X-Mailgun-Variables")
    return {**{name: _as_text(value) for name, value in header.items()}, **form.with_prefix("v:")}


def _recipient_variables(form: Form) -> dict[str, dict[str, str]]:
    given = _json_object(form, "recipient-variables")
    if not all(isinstance(own, dict) for own in given.values()):
        raise RequestError(400, "recipient-variables parameter is not a JSON object of objects")
    return {
        spec: {name: _as_text(value) for name, value in own.items()}
        for spec, own in given.items()
        if isinstance(own, dict)
    }


def _json_object(form: Form, name: str) -> dict[str, object]:
    try:
        found = orjson.loads(form.first(name) or "{}")
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise RequestError(400, f"{name} parameter is not valid JSON")
    return found


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


class Mailbox:
    """The accepted mails. When it is full the oldest lose first their content, then their place."""

    def __init__(self) -> None:
        self._mails: OrderedDict[str, Mail] = OrderedDict()
        self._with_content: deque[Mail] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._mails)

    def __iter__(self) -> Iterator[Mail]:
        """Newest first."""
        return reversed(self._mails.values())

    def get(self, mail_id: str) -> Mail | None:
        return self._mails.get(mail_id)

    def add(self, mail: Mail) -> None:
        self._mails[mail.id] = mail
        self._with_content.append(mail)
        self._bytes += mail.size
        while self._bytes > MAX_KEPT_BYTES and len(self._with_content) > 1:
            self._drop_oldest_content()
        if len(self._mails) > MAX_KEPT:
            self._mails.popitem(last=False)
        while len(self._with_content) > MAX_KEPT:
            self._drop_oldest_content()

    def clear(self) -> None:
        self._mails.clear()
        self._with_content.clear()
        self._bytes = 0

    def _drop_oldest_content(self) -> None:
        mail = self._with_content.popleft()
        self._bytes -= mail.size
        mail.drop_content()
