"""The inbox: pages to look at what was sent, and buttons that let more happen to it. Nothing here needs JavaScript."""

import itertools
from urllib.parse import quote, urlencode

from mail.simulator.app import Route
from mail.simulator.body import html_body
from mail.simulator.display import event_line, marks, moment, standing, try_line
from mail.simulator.faults import CALLS
from mail.simulator.forms import read_form
from mail.simulator.further import FURTHER, further_step
from mail.simulator.http import Answer, Reply, Request
from mail.simulator.mails import Mail
from mail.simulator.outcomes import OUTCOMES
from mail.simulator.rendering import FRAME_HEADERS, css, page
from mail.simulator.simulator import Office

PER_PAGE = 50
TINTS = 6
SNIPPET = 160


class Inbox:
    def __init__(self, office: Office) -> None:
        self._office = office

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/", self.list),
            Route("GET", "/messages/{mail_id}", self.show),
            Route("GET", "/messages/{mail_id}/html", self.show_html),
            Route("GET", "/messages/{mail_id}/files/{number}", self.download),
            Route("POST", "/messages/{mail_id}/events", self.tell),
            Route("POST", "/clear", self.clear),
            Route("GET", "/simulator.css", self.style),
        ]

    async def list(self, request: Request) -> Reply:
        wanted, given = request.first("q").strip(), request.first("page")
        number = int(given) if given.isdecimal() and len(given) < 6 else 0
        found = (mail for mail in self._office.mailbox if _matches(mail, wanted.lower()))
        mails = list(itertools.islice(found, number * PER_PAGE, (number + 1) * PER_PAGE + 1))
        return self._page(
            "inbox.html",
            rows=[self._row(mail) for mail in mails[:PER_PAGE]],
            q=wanted,
            here="?" + urlencode({"q": wanted, "page": number}),
            newer=number - 1 if number else None,
            older=number + 1 if len(mails) > PER_PAGE else None,
            root=request.root,
            outcomes=list(OUTCOMES),
            faults=list(CALLS),
        )

    async def show(self, request: Request, mail_id: str) -> Reply:
        mail = self._office.mailbox.get(mail_id)
        if mail is None:
            return self._page("missing.html", status_code=404)
        events = self._office.log.of_mail(mail.id)
        tries = [sent for sent in self._office.webhooks.tries if sent.event.mail is mail]
        people = [("To", mail.to), ("Cc", mail.cc), ("Bcc", mail.bcc)]
        return self._page(
            "message.html",
            mail=mail,
            at=moment(mail.at),
            status=standing(events),
            people=[(name, ", ".join(map(str, addresses))) for name, addresses in people if addresses],
            several=len(mail.recipients) > 1,
            events=[(event_line(event), [try_line(t) for t in tries if t.event is event]) for event in events],
            further=list(FURTHER),
        )

    async def show_html(self, request: Request, mail_id: str) -> Reply:
        mail = self._office.mailbox.get(mail_id)
        if mail is None:
            return self._page("missing.html", status_code=404)
        return Answer(200, html_body(mail).encode(), "text/html; charset=utf-8", FRAME_HEADERS)

    async def download(self, request: Request, mail_id: str, number: str) -> Reply:
        mail = self._office.mailbox.get(mail_id)
        if mail is None or not number.isdecimal() or int(number[:6]) >= len(mail.files):
            return self._page("missing.html", status_code=404)
        file = mail.files[int(number[:6])]
        disposition = f"attachment; filename*=UTF-8''{quote(file.name, safe='')}"
        headers = {**FRAME_HEADERS, "content-disposition": disposition}
        return Answer(200, file.content, "application/octet-stream", headers)

    async def tell(self, request: Request, mail_id: str) -> Reply:
        mail, form = self._office.mailbox.get(mail_id), read_form(request.headers.get("content-type", ""), request.body)
        if mail is None:
            return self._page("missing.html", status_code=404)
        await self._office.tell_of(mail, mail.recipient(form.first("recipient")), further_step(form.first("event")))
        return _see_other(f"/messages/{quote(mail.id, safe='@')}")

    async def clear(self, request: Request) -> Reply:
        self._office.clear()
        return _see_other("/")

    async def style(self, request: Request) -> Reply:
        return Answer(200, css(), "text/css; charset=utf-8")

    def _row(self, mail: Mail) -> dict[str, object]:
        events, first = self._office.log.of_mail(mail.id), mail.to[0]
        return {
            "mail": mail,
            "at": moment(mail.at),
            "status": standing(events),
            "marks": marks(events),
            "others": len(mail.recipients) - 1,
            "initial": first.spec[0].upper(),
            "tint": sum(first.spec.encode()) % TINTS,
            "snippet": mail.text[:SNIPPET],
        }

    def _page(self, name: str, status_code: int = 200, **context: object) -> Answer:
        ledger = self._office.ledger
        return page(name, {**context, "accepted": ledger.accepted, "calls": ledger.calls}, status_code)


def _matches(mail: Mail, wanted: str) -> bool:
    return not wanted or any(wanted in text.lower() for text in (mail.subject, *(a.spec for a in mail.recipients)))


def _see_other(path: str) -> Answer:
    return Answer(303, headers={"location": path})
