"""Mailgun's HTTP API: messages and events of a domain; its lists are in suppression_list.py."""

import asyncio
import base64
import secrets
import time

from mail.simulator.addresses import Address, read_addresses
from mail.simulator.app import Route
from mail.simulator.event_query import Query
from mail.simulator.events import event_data
from mail.simulator.faults import faulty_reply
from mail.simulator.forms import Form, read_form
from mail.simulator.http import Answer, RefusedError, Reply, Request, Respond, as_json, said, text
from mail.simulator.mails import read_mail
from mail.simulator.outcomes import outcome_of
from mail.simulator.simulator import Office
from mail.simulator.suppression_list import SuppressionList
from mail.simulator.suppressions import LISTS


class Api:
    """`key` is the API key; `domains` are those that may send."""

    def __init__(self, office: Office, key: str, domains: set[str]) -> None:
        self._office = office
        self._authorization = base64.b64encode(f"api:{key}".encode()).decode()
        self._domains = domains

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/v3/{domain}/messages", self._on_domain(self.send)),
            Route("GET", "/v3/{domain}/events", self._on_domain(self.events)),
            Route("GET", "/v3/{domain}/events/{page}", self._on_domain(self.events)),
            *(
                Route(method, f"/v3/{{domain}}/{path}", self._on_domain(respond))
                for name in LISTS
                for method, path, respond in SuppressionList(self._office, name).routes()
            ),
        ]

    async def send(self, request: Request, domain: str) -> Reply:
        office, received = self._office, time.time()
        form = read_form(request.headers.get("content-type", ""), request.body)
        office.ledger.called(form.first("v:message_id"))
        recipient = _first_recipient(form)
        fault = office.faults.for_call("messages", recipient)
        if fault and not fault.accepts:
            return faulty_reply(fault, text(""), office.knobs.hold)
        mail = read_mail(form, domain, len(request.body), received)
        latency = office.knobs.latency + max(outcome_of(to.local).seconds for to in mail.recipients)
        await asyncio.sleep(latency / 2)
        await office.accept(mail, answer_after=latency / 2)
        answer = as_json({"id": f"<{mail.id}>", "message": "Queued. Thank you."})
        if fault:
            return faulty_reply(fault, answer, office.knobs.hold)
        await asyncio.sleep(latency / 2)
        return answer

    async def events(self, request: Request, domain: str, page: str = "") -> Reply:
        office = self._office
        if fault := office.faults.for_call("events", None):
            return faulty_reply(fault, as_json({"items": [], "paging": {}}), office.knobs.hold)
        query = Query.of_token(page) if page else Query.of_parameters(request.query)
        found = office.log.find(query, domain, time.time())
        url = f"{request.root}/v3/{domain}/events"
        following = query.continued(found[-1]) if found else query
        paging = {"first": f"{url}/{query.from_start().token()}", "next": f"{url}/{following.token()}"}
        paging |= {"previous": f"{url}/{query.token()}", "last": f"{url}/{following.token()}"}
        return as_json({"items": [event_data(event) for event in found], "paging": paging})

    def _on_domain(self, respond: Respond) -> Respond:
        """The key and the domain are checked, in this order, before anything else."""

        async def answer(request: Request, domain: str, **parts: str) -> Reply:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "basic" or not secrets.compare_digest(given.encode(), self._authorization.encode()):
                return _forbidden()
            if domain not in self._domains:
                return said(f"Domain not found: {domain}", 404)
            return await respond(request, domain=domain, **parts)

        return answer


def _forbidden() -> Answer:
    return text("Forbidden", 401)


def _first_recipient(form: Form) -> Address | None:
    """Whom the mail would go to, if that can be read."""
    try:
        return next(iter(read_addresses("to", form.all("to"))), None)
    except RefusedError:
        return None
