"""Mailgun's HTTP API for one of its lists: /v3/{domain}/bounces, complaints and unsubscribes."""

import time
from email.utils import formatdate
from urllib.parse import quote

from mail.simulator.addresses import read_addresses
from mail.simulator.faults import faulty_reply
from mail.simulator.forms import read_form
from mail.simulator.http import RefusedError, Reply, Request, Respond, as_json, said
from mail.simulator.simulator import Office
from mail.simulator.suppressions import Entry

MOST_ITEMS = 10_000


class SuppressionList:
    def __init__(self, office: Office, name: str) -> None:
        self._office = office
        self._name = name

    def routes(self) -> list[tuple[str, str, Respond]]:
        """Method, path below the domain, and who answers."""
        table, row = self._name, f"{self._name}/{{address}}"
        return [
            ("GET", table, self._unless_faulty(self.show_all)),
            ("POST", table, self._unless_faulty(self.add)),
            ("DELETE", table, self._unless_faulty(self.remove_all)),
            ("GET", row, self._unless_faulty(self.show)),
            ("DELETE", row, self._unless_faulty(self.remove)),
        ]

    async def show_all(self, request: Request, domain: str) -> Reply:
        """One page, by address; the next one begins after the last address of this one."""
        limit, after = request.first("limit", "100"), request.first("address").lower()
        if not limit.isdecimal() or not 0 < int(limit) <= MOST_ITEMS:
            raise RefusedError(400, f"limit must be from 1 to {MOST_ITEMS}")
        entries = self._entries(domain)
        found = [entries[key] for key in sorted(entries) if key > after][: int(limit)]
        last = found[-1].address if found else after
        url = f"{request.root}{request.path}?limit={limit}"
        paging = {"first": url, "next": f"{url}&page=next&address={quote(last)}"}
        return as_json({"items": [_as_fields(entry) for entry in found], "paging": paging})

    async def show(self, request: Request, domain: str, address: str) -> Reply:
        entry = self._entries(domain).get(address.lower())
        return as_json(_as_fields(entry)) if entry else self._unknown()

    async def add(self, request: Request, domain: str) -> Reply:
        form = read_form(request.headers.get("content-type", ""), request.body)
        addresses = read_addresses("address", form.all("address"))
        for address in addresses:
            bounce = (form.first("code", "550"), form.first("error")) if self._name == "bounces" else ()
            self._office.suppressions.add(domain, self._name, address.spec, time.time(), *bounce)
        return said(f"{len(addresses)} addresses have been added to the {self._name} table")

    async def remove(self, request: Request, domain: str, address: str) -> Reply:
        if self._entries(domain).pop(address.lower(), None) is None:
            return self._unknown()
        return as_json({"message": f"Address has been removed from the {self._name} table", "address": address})

    async def remove_all(self, request: Request, domain: str) -> Reply:
        self._entries(domain).clear()
        return said(f"All addresses of this domain have been removed from the {self._name} table")

    def _entries(self, domain: str) -> dict[str, Entry]:
        return self._office.suppressions.entries(domain, self._name)

    def _unknown(self) -> Reply:
        return said(f"Address not found in {self._name} table", 404)

    def _unless_faulty(self, respond: Respond) -> Respond:
        async def answer(request: Request, **parts: str) -> Reply:
            if fault := self._office.faults.for_call("suppressions", None):
                return faulty_reply(fault, as_json({"items": [], "paging": {}}), self._office.knobs.hold)
            return await respond(request, **parts)

        return answer


def _as_fields(entry: Entry) -> dict[str, object]:
    bounce = {"code": entry.code, "error": entry.error} if entry.code else {}
    return {"address": entry.address, "created_at": formatdate(entry.at, usegmt=True), **bounce}
