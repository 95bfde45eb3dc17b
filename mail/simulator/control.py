"""The simulator's own API below /simulator/, in JSON: faults, settings, counts, mails, webhooks, a fresh start."""

from collections.abc import Callable
from dataclasses import asdict

from mail.simulator.events import event_data
from mail.simulator.http import Reply, Request, RequestError, Response, Route, as_json
from mail.simulator.mails import Mail
from mail.simulator.outcomes import step_on_request
from mail.simulator.simulator import Simulator
from mail.simulator.webhooks import Try

MAX_LISTED = 1000


class Control:
    """`close_port`: refuses all connections for so many seconds."""

    def __init__(self, simulator: Simulator, close_port: Callable[[float], None]) -> None:
        self._simulator = simulator
        self._close_port = close_port

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/simulator/", self.state),
            Route("DELETE", "/simulator/", self.clear),
            Route("GET", "/simulator/config", self.config),
            Route("PATCH", "/simulator/config", self.change_config),
            Route("GET", "/simulator/faults", self.faults),
            Route("POST", "/simulator/faults", self.add_fault),
            Route("DELETE", "/simulator/faults", self.clear_faults),
            Route("DELETE", "/simulator/faults/{number}", self.remove_fault),
            Route("POST", "/simulator/refusal", self.refuse_connections),
            Route("GET", "/simulator/accepted", self.counts),
            Route("GET", "/simulator/accepted/{message_id}", self.message_counts),
            Route("GET", "/simulator/messages", self.messages),
            Route("GET", "/simulator/messages/{mail_id}", self.message),
            Route("POST", "/simulator/messages/{mail_id}/events", self.add_event),
            Route("GET", "/simulator/webhooks", self.webhooks),
        ]

    async def state(self, request: Request) -> Reply:
        simulator, counters = self._simulator, self._simulator.counters
        counts = {"calls": counters.calls, "accepted": counters.accepted, "events": len(simulator.log)}
        return as_json({**counts, "messages": len(simulator.mailbox), "config": asdict(simulator.config)})

    async def clear(self, request: Request) -> Reply:
        self._simulator.clear()
        return Response(204)

    async def config(self, request: Request) -> Reply:
        return as_json(asdict(self._simulator.config))

    async def change_config(self, request: Request) -> Reply:
        self._simulator.config = self._simulator.config.changed(request.json_object())
        return await self.config(request)

    async def faults(self, request: Request) -> Reply:
        return as_json([asdict(fault) for fault in self._simulator.faults])

    async def add_fault(self, request: Request) -> Reply:
        return as_json(asdict(self._simulator.faults.add(request.json_object())), 201)

    async def clear_faults(self, request: Request) -> Reply:
        self._simulator.faults.clear()
        return Response(204)

    async def remove_fault(self, request: Request, number: str) -> Reply:
        self._simulator.faults.remove(number)
        return Response(204)

    async def refuse_connections(self, request: Request) -> Reply:
        seconds = request.json_object().get("seconds", 1)
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= 3600:
            raise RequestError(400, "seconds must be a number above 0 and up to 3600.")
        self._close_port(seconds)
        return Response(204, headers={"connection": "close"})

    async def counts(self, request: Request) -> Reply:
        counters = self._simulator.counters
        messages = {name: counts.as_json() for name, counts in counters.messages.items()}
        return as_json({"calls": counters.calls, "accepted": counters.accepted, "messages": messages})

    async def message_counts(self, request: Request, message_id: str) -> Reply:
        return as_json(self._simulator.counters.find(message_id).as_json())

    async def messages(self, request: Request) -> Reply:
        return as_json([_summary(mail) for mail, _ in zip(self._simulator.mailbox, range(MAX_LISTED), strict=False)])

    async def message(self, request: Request, mail_id: str) -> Reply:
        mail = self._mail(mail_id)
        content = {"text": mail.text, "html": mail.html, "headers": mail.headers, "variables": mail.variables}
        files = [
            {"field": file.field, "name": file.name, "type": file.content_type, "size": len(file.content)}
            for file in mail.files
        ]
        events = [event_data(event) for event in self._simulator.log.of_mail(mail.id)]
        return as_json({**_summary(mail), **content, "options": mail.options, "files": files, "events": events})

    async def add_event(self, request: Request, mail_id: str) -> Reply:
        """{"event": …, "recipient"?: …}, the event one of STEPS_ON_REQUEST."""
        mail, given = self._mail(mail_id), request.json_object()
        step = step_on_request(str(given.get("event", "")))
        await self._simulator.add_event(mail, mail.recipient(str(given.get("recipient", ""))), step)
        return Response(204)

    async def webhooks(self, request: Request) -> Reply:
        return as_json([_try_fields(sent) for sent in list(self._simulator.webhooks.tries)[-MAX_LISTED:]])

    def _mail(self, mail_id: str) -> Mail:
        mail = self._simulator.mailbox.get(mail_id.strip("<>"))
        if mail is None:
            raise RequestError(404, "There is no such message.")
        return mail


def _summary(mail: Mail) -> dict[str, object]:
    return {
        "id": mail.id,
        "at": mail.at,
        "from": str(mail.sender),
        "recipients": [address.spec for address in mail.recipients],
        "subject": mail.subject,
        "tags": mail.tags,
    }


def _try_fields(sent: Try) -> dict[str, object]:
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
