"""The simulator itself: accepts mails, lets happen to them what their recipients' names say, and tells of it."""

import asyncio
import random
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace

from mail.simulator.addresses import Address
from mail.simulator.config import Knobs
from mail.simulator.counters import Ledger
from mail.simulator.event_log import EventLog
from mail.simulator.events import Event, make_event
from mail.simulator.faults import Fault, Faults
from mail.simulator.mailbox import Mailbox
from mail.simulator.mails import Mail
from mail.simulator.outcomes import SUPPRESSED, Outcome, Step, outcome_of
from mail.simulator.suppressions import Suppressions
from mail.simulator.webhooks import Webhooks

ACCEPTED = Step("accepted")


class Office:
    def __init__(self, knobs: Knobs, signing_key: str) -> None:
        self._first_knobs = self.knobs = knobs
        self.faults = Faults()
        self.ledger = Ledger()
        self.mailbox = Mailbox()
        self.log = EventLog()
        self.suppressions = Suppressions()
        self.webhooks = Webhooks(signing_key)
        self._tasks: set[asyncio.Task[None]] = set()

    def clear(self) -> None:
        """As after the start: no mails, no faults, no counts, the knobs of the command line, nothing under way."""
        for task in self._tasks:
            task.cancel()
        for part in (self.faults, self.ledger, self.mailbox, self.log, self.suppressions, self.webhooks.tries):
            part.clear()
        self.knobs = self._first_knobs

    async def accept(self, mail: Mail, answer_after: float) -> None:
        """Counts the mail and sets off what becomes of it, for each recipient, when its answer has been given."""
        self.ledger.accept(mail.variables.get("message_id", ""), mail.variables.get("attempt_id", ""))
        self.mailbox.put(mail)
        for recipient in mail.recipients:
            outcome, faults = self._fate(mail, recipient)
            accepted = self._record(mail, recipient, ACCEPTED)
            if self.knobs.accepted_webhooks and outcome.told:
                self._spawn(self._tell(accepted, faults))
            if "early" in faults and outcome.steps:
                await self._happen(mail, recipient, outcome.steps[0], faults)
                outcome = replace(outcome, steps=outcome.steps[1:])
            wait = answer_after + max(0, mail.deliver_at - mail.at) * self.knobs.time_scale
            self._spawn(self._play(mail, recipient, outcome, faults, wait))

    async def tell_of(self, mail: Mail, recipient: Address, step: Step) -> None:
        """One more event, when somebody wants it."""
        self._spawn(self._tell(self._record(mail, recipient, step), {}))

    def _fate(self, mail: Mail, recipient: Address) -> tuple[Outcome, Mapping[str, Fault]]:
        outcome = outcome_of(recipient.local)
        faults = {name: Fault(0, name) for name in outcome.quirks} | self.faults.for_webhooks(recipient)
        listed = self.suppressions.list_of(mail.domain, recipient)
        if listed:
            outcome = replace(outcome, steps=(SUPPRESSED[listed],))
        return replace(outcome, told=outcome.told and "lost" not in faults), faults

    async def _play(
        self, mail: Mail, recipient: Address, outcome: Outcome, faults: Mapping[str, Fault], wait: float
    ) -> None:
        await asyncio.sleep(wait)
        held: list[Event] = []
        for number, step in enumerate(outcome.steps, start=1):
            await asyncio.sleep(self.knobs.webhook_delay + step.after * self.knobs.time_scale)
            if not outcome.told:
                self._record(mail, recipient, step, number)
            elif "reordered" in faults:
                held.insert(0, self._record(mail, recipient, step, number))
            else:
                self._spawn(self._happen(mail, recipient, step, faults, number))
        for event in held:
            await self._tell(event, faults)

    async def _happen(
        self, mail: Mail, recipient: Address, step: Step, faults: Mapping[str, Fault], number: int = 1
    ) -> None:
        await self._tell(self._record(mail, recipient, step, number), faults)

    def _record(self, mail: Mail, recipient: Address, step: Step, number: int = 1) -> Event:
        index = self.knobs.index_delay * random.uniform(0.5, 1)  # noqa: S311 nothing to guess
        event = make_event(mail, recipient, step, time.time(), attempt=number, index=index)
        self.log.add(event)
        self.suppressions.learn(event)
        return event

    async def _tell(self, event: Event, faults: Mapping[str, Fault]) -> None:
        url, delayed = self.knobs.webhook_url, faults.get("delayed")
        if delayed:
            await asyncio.sleep(delayed.seconds or 1)
        unsettled = await self.webhooks.tell(url, event, faults)
        if unsettled:
            self._spawn(self.webhooks.tell_again(url, event, unsettled, self.knobs.time_scale))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
