"""The inbox: pages to look at what was sent, and buttons that let more happen to it."""

from mail.simulator.app import Route
from mail.simulator.exchange import Reply, Request, text
from mail.simulator.office import Office


class Inbox:
    def __init__(self, office: Office) -> None:
        self._office = office

    def routes(self) -> list[Route]:
        return [Route("GET", "/", self.index)]

    async def index(self, request: Request) -> Reply:
        return text("\n".join(mail.subject for mail in self._office.mailbox))
