"""Mailgun's HTTP API: messages, events, and the lists bounces, complaints and unsubscribes."""

import asyncio
import base64
import secrets
import time
from email.utils import formatdate
from urllib.parse import quote

from mail.simulator.event_log import Query
from mail.simulator.events import event_data
from mail.simulator.faults import faulty_reply
from mail.simulator.forms import Address, Form, read_addresses, read_form
from mail.simulator.http import Handler, Reply, Request, RequestError, Route, as_json, as_message, as_text
from mail.simulator.mails import parse_mail
from mail.simulator.outcomes import outcome_of
from mail.simulator.simulator import Simulator
from mail.simulator.suppressions import LISTS, Entry

MAX_LIST_ITEMS = 10_000


class Api:
    """`key`: the API key. `domains`: those that may send."""

    def __init__(self, simulator: Simulator, key: str, domains: set[str]) -> None:
        self._simulator = simulator
        self._authorization = base64.b64encode(f"api:{key}".encode()).decode()
        self._domains = domains

    def routes(self) -> list[Route]:
        routes = [
            Route("POST", "/messages", self.send),
            Route("GET", "/events", self.events),
            Route("GET", "/events/{page}", self.events),
            *(route for name in LISTS for route in SuppressionList(self._simulator, name).routes()),
        ]
        return [Route(route.method, f"/v3/{{domain}}{route.path}", self._authorized(route.handler)) for route in routes]

    async def send(self, request: Request, domain: str) -> Reply:
        simulator, received_at = self._simulator, time.time()
        form = read_form(request)
        simulator.counters.count_call(form.first("v:message_id"))
        fault = simulator.faults.for_call("messages", _first_recipient(form))
        if fault and not fault.accepts:
            await asyncio.sleep(simulator.config.latency)
            return faulty_reply(fault, as_text(""), simulator.config)
        mail = parse_mail(form, domain, len(request.body), received_at)
        latency = simulator.config.latency + max(outcome_of(to.local).latency for to in mail.recipients)
        await asyncio.sleep(latency / 2)
        await simulator.accept(mail, answer_after=latency / 2)
        response = as_json({"id": f"<{mail.id}>", "message": "Queued. Thank you."})
        if fault:
            return faulty_reply(fault, response, simulator.config)
        await asyncio.sleep(latency / 2)
        return response

    async def events(self, request: Request, domain: str, page: str = "") -> Reply:
        simulator = self._simulator
        if fault := simulator.faults.for_call("events", None):
            return faulty_reply(fault, as_json({"items": [], "paging": {}}), simulator.config)
        query = Query.from_token(page) if page else Query.from_parameters(request.query)
        found = simulator.log.find(query, domain, time.time())
        url = f"{request.root}/v3/{domain}/events"
        following = query.next_page(found[-1]) if found else query
        paging = {"first": f"{url}/{query.first_page().token()}", "next": f"{url}/{following.token()}"}
        paging |= {"previous": f"{url}/{query.token()}", "last": f"{url}/{following.token()}"}
        return as_json({"items": [event_data(event) for event in found], "paging": paging})

    def _authorized(self, handler: Handler) -> Handler:
        """Check first the key, then the domain."""

        async def check(request: Request, domain: str, **parts: str) -> Reply:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "basic" or not secrets.compare_digest(given.encode(), self._authorization.encode()):
                return as_text("Forbidden", 401)
            if domain not in self._domains:
                return as_message(f"Domain not found: {domain}", 404)
            return await handler(request, domain=domain, **parts)

        return check


def _first_recipient(form: Form) -> Address | None:
    """None if it cannot be read."""
    try:
        return next(iter(read_addresses("to", form.all("to"))), None)
    except RequestError:
        return None


class SuppressionList:
    """One of Mailgun's lists."""

    def __init__(self, simulator: Simulator, name: str) -> None:
        self._simulator = simulator
        self._name = name

    def routes(self) -> list[Route]:
        """Paths are those below the domain."""
        table, row = f"/{self._name}", f"/{self._name}/{{address}}"
        routes = [
            Route("GET", table, self.show_all),
            Route("POST", table, self.add),
            Route("DELETE", table, self.remove_all),
            Route("GET", row, self.show),
            Route("DELETE", row, self.remove),
        ]
        return [route._replace(handler=self._with_faults(route.handler)) for route in routes]

    async def show_all(self, request: Request, domain: str) -> Reply:
        """One page, ordered by address. The next one starts after the last address of this one."""
        limit, after = request.first("limit", "100"), request.first("address").lower()
        if not limit.isdecimal() or not 0 < int(limit) <= MAX_LIST_ITEMS:
            raise RequestError(400, f"limit must be from 1 to {MAX_LIST_ITEMS}")
        entries = self._entries(domain)
        found = [entries[key] for key in sorted(entries) if key > after][: int(limit)]
        last = found[-1].address if found else after
        url = f"{request.root}{request.path}?limit={limit}"
        paging = {"first": url, "next": f"{url}&page=next&address={quote(last)}"}
        return as_json({"items": [_entry_fields(entry) for entry in found], "paging": paging})

    async def show(self, request: Request, domain: str, address: str) -> Reply:
        entry = self._entries(domain).get(address.lower())
        return as_json(_entry_fields(entry)) if entry else self._not_found()

    async def add(self, request: Request, domain: str) -> Reply:
        form = read_form(request)
        addresses = read_addresses("address", form.all("address"))
        bounce = (form.first("code", "550"), form.first("error")) if self._name == "bounces" else ()
        for address in addresses:
            self._simulator.suppressions.add(domain, self._name, address.spec, time.time(), *bounce)
        return as_message(f"{len(addresses)} addresses have been added to the {self._name} table")

    async def remove(self, request: Request, domain: str, address: str) -> Reply:
        if self._entries(domain).pop(address.lower(), None) is None:
            return self._not_found()
        return as_json({"message": f"Address has been removed from the {self._name} table", "address": address})

    async def remove_all(self, request: Request, domain: str) -> Reply:
        self._entries(domain).clear()
        return as_message(f"All addresses of this domain have been removed from the {self._name} table")

    def _entries(self, domain: str) -> dict[str, Entry]:
        return self._simulator.suppressions.entries(domain, self._name)

    def _not_found(self) -> Reply:
        return as_message(f"Address not found in {self._name} table", 404)

    def _with_faults(self, handler: Handler) -> Handler:
        async def check(request: Request, **parts: str) -> Reply:
            if fault := self._simulator.faults.for_call("suppressions", None):
                return faulty_reply(fault, as_json({"items": [], "paging": {}}), self._simulator.config)
            return await handler(request, **parts)

        return check


def _entry_fields(entry: Entry) -> dict[str, object]:
    bounce = {"code": entry.code, "error": entry.error} if entry.code else {}
    return {"address": entry.address, "created_at": formatdate(entry.at, usegmt=True), **bounce}
