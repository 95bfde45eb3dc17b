"""The simulator's state, and what it does with an accepted mail: record its events and send their webhooks."""

import asyncio
import random
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace

from mail.simulator.config import Config
from mail.simulator.counters import Counters
from mail.simulator.event_log import EventLog
from mail.simulator.events import Event, new_event
from mail.simulator.faults import Fault, Faults
from mail.simulator.forms import Address
from mail.simulator.mails import Mail, Mailbox
from mail.simulator.outcomes import SUPPRESSED, Outcome, Step, outcome_of
from mail.simulator.suppressions import Suppressions
from mail.simulator.webhooks import Webhooks

ACCEPTED = Step("accepted")


class Simulator:
    def __init__(self, config: Config, signing_key: str) -> None:
        self._initial_config = self.config = config
        self.faults = Faults()
        self.counters = Counters()
        self.mailbox = Mailbox()
        self.log = EventLog()
        self.suppressions = Suppressions()
        self.webhooks = Webhooks(signing_key)
        self._tasks: set[asyncio.Task[None]] = set()

    def clear(self) -> None:
        """As after the start: nothing stored, no faults, the settings of the command line, no task running."""
        for task in self._tasks:
            task.cancel()
        for part in (self.faults, self.counters, self.mailbox, self.log, self.suppressions, self.webhooks.tries):
            part.clear()
        self.config = self._initial_config

    async def accept(self, mail: Mail, answer_after: float) -> None:
        """Count and keep the mail. Its outcome starts for each recipient after `answer_after` seconds."""
        self.counters.count_accepted(mail.variables.get("message_id", ""), mail.variables.get("attempt_id", ""))
        self.mailbox.add(mail)
        for recipient in mail.recipients:
            outcome, faults = self._outcome(mail, recipient)
            accepted = self._record(mail, recipient, ACCEPTED)
            if self.config.accepted_webhooks and outcome.webhooks:
                self._start(self._send_webhook(accepted, faults))
            if "early" in faults and outcome.steps:
                await self._send_webhook(self._record(mail, recipient, outcome.steps[0]), faults)
                outcome = replace(outcome, steps=outcome.steps[1:])
            delay = answer_after + max(0, mail.deliver_at - mail.at) * self.config.time_scale
            self._start(self._run_outcome(mail, recipient, outcome, faults, delay))

    async def add_event(self, mail: Mail, recipient: Address, step: Step) -> None:
        """Record one more event on request, and send its webhook."""
        self._start(self._send_webhook(self._record(mail, recipient, step), {}))

    def _outcome(self, mail: Mail, recipient: Address) -> tuple[Outcome, Mapping[str, Fault]]:
        """By the recipient's local part and Mailgun's lists; with the faults of its webhooks, by kind."""
        outcome = outcome_of(recipient.local)
        faults = {name: Fault(0, name) for name in outcome.webhook_faults} | self.faults.for_webhooks(recipient)
        if listed := self.suppressions.list_of(mail.domain, recipient):
            outcome = replace(outcome, steps=(SUPPRESSED[listed],))
        return replace(outcome, webhooks=outcome.webhooks and "lost" not in faults), faults

    async def _run_outcome(
        self, mail: Mail, recipient: Address, outcome: Outcome, faults: Mapping[str, Fault], delay: float
    ) -> None:
        await asyncio.sleep(delay)
        reversed_events: list[Event] = []
        for attempt, step in enumerate(outcome.steps, start=1):
            await asyncio.sleep(self.config.webhook_delay + step.after * self.config.time_scale)
            event = self._record(mail, recipient, step, attempt)
            if not outcome.webhooks:
                continue
            if "reordered" in faults:
                reversed_events.insert(0, event)
            else:
                self._start(self._send_webhook(event, faults))
        for event in reversed_events:
            await self._send_webhook(event, faults)

    def _record(self, mail: Mail, recipient: Address, step: Step, attempt: int = 1) -> Event:
        index_delay = self.config.index_delay * random.uniform(0.5, 1)  # noqa: S311 no secret
        event = new_event(mail, recipient, step, time.time(), attempt=attempt, index_delay=index_delay)
        self.log.add(event)
        self.suppressions.add_from(event)
        return event

    async def _send_webhook(self, event: Event, faults: Mapping[str, Fault]) -> None:
        url, delayed = self.config.webhook_url, faults.get("delayed")
        if delayed:
            await asyncio.sleep(delayed.seconds or 1)
        if payload := await self.webhooks.send(url, event, faults):
            self._start(self.webhooks.retry(url, event, payload, self.config.time_scale))

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
