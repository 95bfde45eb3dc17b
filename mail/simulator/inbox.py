"""The inbox: pages that show what was sent, and buttons that add events. They need no JavaScript."""

import itertools
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlencode

from django.template import Context, Engine

from mail.simulator.display import as_datetime, event_line, html_with_images, overall_status, reactions, try_line
from mail.simulator.faults import CALL_FAULTS
from mail.simulator.forms import read_form
from mail.simulator.http import Reply, Request, Response, Route
from mail.simulator.mails import Mail
from mail.simulator.outcomes import OUTCOMES, STEPS_ON_REQUEST, step_on_request
from mail.simulator.simulator import Simulator

PER_PAGE = 50
TINTS = 6
SNIPPET_LENGTH = 160
FOLDER = Path(__file__).parent / "pages"
COMMON_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store"}
PAGE_HEADERS = {
    **COMMON_HEADERS,
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src data:; frame-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
}
FRAME_HEADERS = {
    **COMMON_HEADERS,
    "content-security-policy": (
        "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
    ),
}
"""For content of mails: no scripts, no forms, no requests, no origin."""

_engine = Engine([str(FOLDER)])


class Inbox:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/", self.list),
            Route("GET", "/messages/{mail_id}", self.show),
            Route("GET", "/messages/{mail_id}/html", self.show_html),
            Route("GET", "/messages/{mail_id}/files/{number}", self.download),
            Route("POST", "/messages/{mail_id}/events", self.add_event),
            Route("POST", "/clear", self.clear),
            Route("GET", "/simulator.css", self.style),
        ]

    async def list(self, request: Request) -> Reply:
        text, given = request.first("q").strip(), request.first("page")
        number = int(given) if given.isdecimal() and len(given) < 6 else 0
        found = (mail for mail in self._simulator.mailbox if _matches(mail, text.lower()))
        mails = list(itertools.islice(found, number * PER_PAGE, (number + 1) * PER_PAGE + 1))
        return self._page(
            "inbox.html",
            rows=[self._row(mail) for mail in mails[:PER_PAGE]],
            q=text,
            here="?" + urlencode({"q": text, "page": number}),
            newer=number - 1 if number else None,
            older=number + 1 if len(mails) > PER_PAGE else None,
            root=request.root,
            outcomes=list(OUTCOMES),
            faults=list(CALL_FAULTS),
        )

    async def show(self, request: Request, mail_id: str) -> Reply:
        mail = self._simulator.mailbox.get(mail_id)
        if mail is None:
            return self._not_found()
        events = self._simulator.log.of_mail(mail.id)
        tries = [sent for sent in self._simulator.webhooks.tries if sent.event.mail is mail]
        people = [("To", mail.to), ("Cc", mail.cc), ("Bcc", mail.bcc)]
        return self._page(
            "message.html",
            mail=mail,
            at=as_datetime(mail.at),
            status=overall_status(events),
            people=[(name, ", ".join(map(str, addresses))) for name, addresses in people if addresses],
            several=len(mail.recipients) > 1,
            events=[(event_line(event), [try_line(t) for t in tries if t.event is event]) for event in events],
            steps=list(STEPS_ON_REQUEST),
        )

    async def show_html(self, request: Request, mail_id: str) -> Reply:
        mail = self._simulator.mailbox.get(mail_id)
        if mail is None:
            return self._not_found()
        return Response(200, html_with_images(mail).encode(), "text/html; charset=utf-8", FRAME_HEADERS)

    async def download(self, request: Request, mail_id: str, number: str) -> Reply:
        mail = self._simulator.mailbox.get(mail_id)
        if mail is None or not number.isdecimal() or int(number[:6]) >= len(mail.files):
            return self._not_found()
        file = mail.files[int(number[:6])]
        disposition = f"attachment; filename*=UTF-8''{quote(file.name, safe='')}"
        headers = {**FRAME_HEADERS, "content-disposition": disposition}
        return Response(200, file.content, "application/octet-stream", headers)

    async def add_event(self, request: Request, mail_id: str) -> Reply:
        mail, form = self._simulator.mailbox.get(mail_id), read_form(request)
        if mail is None:
            return self._not_found()
        step = step_on_request(form.first("event"))
        await self._simulator.add_event(mail, mail.recipient(form.first("recipient")), step)
        return Response(303, headers={"location": f"/messages/{quote(mail.id, safe='@')}"})

    async def clear(self, request: Request) -> Reply:
        self._simulator.clear()
        return Response(303, headers={"location": "/"})

    async def style(self, request: Request) -> Reply:
        return Response(200, _css(), "text/css; charset=utf-8")

    def _row(self, mail: Mail) -> Mapping[str, object]:
        events, first = self._simulator.log.of_mail(mail.id), mail.to[0]
        return {
            "mail": mail,
            "at": as_datetime(mail.at),
            "status": overall_status(events),
            "reactions": reactions(events),
            "others": len(mail.recipients) - 1,
            "initial": first.spec[0].upper(),
            "tint": sum(first.spec.encode()) % TINTS,
            "snippet": mail.text[:SNIPPET_LENGTH],
        }

    def _not_found(self) -> Response:
        return self._page("missing.html", 404)

    def _page(self, name: str, status_code: int = 200, **context: object) -> Response:
        counters = self._simulator.counters
        values = {**context, "accepted": counters.accepted, "calls": counters.calls}
        html = _engine.get_template(name).render(Context(values))
        return Response(status_code, html.encode(), "text/html; charset=utf-8", PAGE_HEADERS)


def _matches(mail: Mail, text: str) -> bool:
    return not text or any(text in each.lower() for each in (mail.subject, *(a.spec for a in mail.recipients)))


@cache
def _css() -> bytes:
    return (FOLDER / "simulator.css").read_bytes()
