"""The simulator's own API below /simulator/, JSON in and out: faults, knobs, counts, what was sent, a fresh start."""

from collections.abc import Callable
from dataclasses import asdict

import orjson

from mail.simulator.app import Route
from mail.simulator.events import event_data
from mail.simulator.further import further_step
from mail.simulator.http import Answer, RefusedError, Reply, Request, as_json
from mail.simulator.mails import Mail
from mail.simulator.simulator import Office
from mail.simulator.webhooks import Try

Refuse = Callable[[float], None]
"""Closes the door: no connection is accepted for so many seconds."""

MOST_LISTED = 1000


class Control:
    def __init__(self, office: Office, refuse: Refuse) -> None:
        self._office = office
        self._refuse = refuse

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/simulator/", self.state),
            Route("DELETE", "/simulator/", self.clear),
            Route("GET", "/simulator/knobs", self.knobs),
            Route("PATCH", "/simulator/knobs", self.turn),
            Route("GET", "/simulator/faults", self.faults),
            Route("POST", "/simulator/faults", self.add_fault),
            Route("DELETE", "/simulator/faults", self.clear_faults),
            Route("DELETE", "/simulator/faults/{number}", self.remove_fault),
            Route("POST", "/simulator/refusal", self.refuse),
            Route("GET", "/simulator/accepted", self.accounts),
            Route("GET", "/simulator/accepted/{message_id}", self.account),
            Route("GET", "/simulator/messages", self.messages),
            Route("GET", "/simulator/messages/{mail_id}", self.message),
            Route("POST", "/simulator/messages/{mail_id}/events", self.tell),
            Route("GET", "/simulator/webhooks", self.webhooks),
        ]

    async def state(self, request: Request) -> Reply:
        office = self._office
        counts = {"calls": office.ledger.calls, "accepted": office.ledger.accepted, "events": len(office.log)}
        return as_json({**counts, "messages": len(office.mailbox), "knobs": asdict(office.knobs)})

    async def clear(self, request: Request) -> Reply:
        self._office.clear()
        return Answer(204)

    async def knobs(self, request: Request) -> Reply:
        return as_json(asdict(self._office.knobs))

    async def turn(self, request: Request) -> Reply:
        self._office.knobs = self._office.knobs.turned(_object(request))
        return await self.knobs(request)

    async def faults(self, request: Request) -> Reply:
        return as_json([asdict(fault) for fault in self._office.faults])

    async def add_fault(self, request: Request) -> Reply:
        return as_json(asdict(self._office.faults.add(_object(request))), 201)

    async def clear_faults(self, request: Request) -> Reply:
        self._office.faults.clear()
        return Answer(204)

    async def remove_fault(self, request: Request, number: str) -> Reply:
        self._office.faults.remove(number)
        return Answer(204)

    async def refuse(self, request: Request) -> Reply:
        seconds = _object(request).get("seconds", 1)
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= 3600:
            raise RefusedError(400, "seconds must be a number up to 3600.")
        self._refuse(seconds)
        return Answer(204, headers={"connection": "close"})

    async def accounts(self, request: Request) -> Reply:
        ledger = self._office.ledger
        messages = {name: account.as_json() for name, account in ledger.accounts.items()}
        return as_json({"calls": ledger.calls, "accepted": ledger.accepted, "messages": messages})

    async def account(self, request: Request, message_id: str) -> Reply:
        return as_json(self._office.ledger.find(message_id).as_json())

    async def messages(self, request: Request) -> Reply:
        return as_json([_summary(mail) for mail, _ in zip(self._office.mailbox, range(MOST_LISTED), strict=False)])

    async def message(self, request: Request, mail_id: str) -> Reply:
        mail = self._mail(mail_id)
        bodies = {"text": mail.text, "html": mail.html, "headers": mail.headers, "variables": mail.variables}
        bodies |= {"options": mail.options}
        files = [
            {"field": file.field, "name": file.name, "type": file.content_type, "size": len(file.content)}
            for file in mail.files
        ]
        events = [event_data(event) for event in self._office.log.of_mail(mail.id)]
        return as_json({**_summary(mail), **bodies, "files": files, "events": events})

    async def tell(self, request: Request, mail_id: str) -> Reply:
        """{"event": …, "recipient"?: …}, where the event is a name of `further_step`."""
        mail, wishes = self._mail(mail_id), _object(request)
        step = further_step(str(wishes.get("event", "")))
        await self._office.tell_of(mail, mail.recipient(str(wishes.get("recipient", ""))), step)
        return Answer(204)

    async def webhooks(self, request: Request) -> Reply:
        return as_json([_as_fields(sent) for sent in list(self._office.webhooks.tries)[-MOST_LISTED:]])

    def _mail(self, mail_id: str) -> Mail:
        mail = self._office.mailbox.get(mail_id.strip("<>"))
        if mail is None:
            raise RefusedError(404, "There is no such message.")
        return mail


def _object(request: Request) -> dict[str, object]:
    try:
        found = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise RefusedError(400, "The body must be a JSON object.")
    return found


def _summary(mail: Mail) -> dict[str, object]:
    return {
        "id": mail.id,
        "at": mail.at,
        "from": str(mail.sender),
        "recipients": [address.spec for address in mail.recipients],
        "subject": mail.subject,
        "tags": mail.tags,
    }


def _as_fields(sent: Try) -> dict[str, object]:
    return {
        "at": sent.at,
        "event": sent.event.name,
        "event_id": sent.event.id,
        "message_id": sent.event.mail.variables.get("message_id", ""),
        "recipient": sent.event.recipient.spec,
        "token": sent.token,
        "try": sent.number,
        "status": sent.status,
        "problem": sent.problem,
    }
