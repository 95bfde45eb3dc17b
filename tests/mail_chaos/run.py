"""The course of a run: post while things are killed, wait until mail has come to rest, compare, report."""

import argparse
import logging
import random
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from django.conf import settings

from demo.eventually import TooLateError, eventually
from jobs.errors import UniqueKeyTaken
from jobs.models import Job
from jobs.models.states import Status
from jobs.submit import submit
from mail.providers.mailgun_api import MailgunApi, mailgun_accounts
from tests.mail_chaos import actual, report
from tests.mail_chaos.actual import Actual
from tests.mail_chaos.kills import Kills
from tests.mail_chaos.plan import plan
from tests.mail_chaos.posts import Posts
from tests.mail_chaos.promises import PAGE, Page, promise
from tests.support.cluster_stack import ClusterStack
from tests.support.servers.simulator import Simulator

STEP = 0.05
POST_EVERY, RECONCILE_EVERY, LOOK_EVERY = 0.3, 3.0, 1.0
"""Seconds."""
SPREAD = 0.6
"""The share of the pause between two kills by which it varies at random."""
CALM_BELOW = 0.1
"""Killing stops once no more than this share of the mail lacks its final status."""
STALLED_AFTER = 120.0
"""Seconds without any message reaching its final status, after which the run is judged."""
QUIET_BEYOND = 5.0
"""Seconds without anything new at the provider, added to MAIL_SETTLED_AFTER."""
DONE_WITHIN = 120.0
MOST_SHOWN = 50


class Course:
    def __init__(self, stack: ClusterStack, simulator: Simulator, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.stack = stack
        self.simulator = simulator
        self.messages = plan(asked.messages, asked.seed)
        page = Page(PAGE.read_text())
        self.promises = {message.address: promise(message, page) for message in self.messages}
        self.dice = random.Random(asked.seed)
        self.kills = Kills(stack, simulator, self.dice)
        self.posts = Posts(stack.client(), self.messages)
        self.problems: list[str] = []
        self._last_seen: tuple[int, ...] = ()
        self._quiet_since = 0.0

    def run(self) -> int:
        """0 when every promise was kept."""
        logging.getLogger("jobs").setLevel("WARNING")
        began = time.monotonic()
        self._send_and_kill()
        self._settle()
        lists = _provider_lists()
        found = actual.actual_ends(self.simulator, lists)
        broken = actual.broken_promises(self.promises, found)
        self.problems += [f"{address} {what}." for address, what in broken]
        self.problems += [
            f"{address} is on the provider's {name}, and was never written to."
            for name in actual.LISTS
            for address in lists[name] - self.promises.keys()
        ]
        self._report(found, {address for address, _ in broken}, time.monotonic() - began)
        for problem in self.problems[:MOST_SHOWN]:
            report.console.print(f"[red]{problem}[/red]", highlight=False)
        report.console.print(f"{len(self.problems)} broken promises; logs in {self.asked.folder}")
        return 1 if self.problems else 0

    def _report(self, found: Mapping[str, Actual], broken: Collection[str], seconds: float) -> None:
        title = f"mail chaos: {self.asked.messages} messages, seed {self.asked.seed}, {seconds:.0f} s"
        done = dict(self.kills.done) | {"requests repeated because there was no answer": self.posts.repeated}
        report.show_counts(title, done | report.counts(self.promises, found))
        report.show_failures(self.messages, found, broken)

    def _send_and_kill(self) -> None:
        """Post and kill until all mail has its final status, or until no more mail gets it."""
        more, left, changed_at = True, len(self.promises), time.monotonic()
        posted_at = reconciled_at = looked_at = 0.0
        kill_at = time.monotonic() + self._pause()
        while left:
            now = time.monotonic()
            self.kills.supervise()
            if more and now - posted_at > POST_EVERY:
                more, posted_at = self.posts.post_one(), now
            if now > kill_at and (more or left > CALM_BELOW * len(self.promises)):
                self.kills.kill_something()
                kill_at = now + self._pause()
            if now - reconciled_at > RECONCILE_EVERY:
                _submit_once("mail.reconcile")
                reconciled_at = now
            if now - looked_at > LOOK_EVERY:
                left_now, looked_at = self._left(), now
                left, changed_at = left_now, now if left_now != left else changed_at
            if not more and now - changed_at > STALLED_AFTER:
                self.problems.append(f"{left} messages had not come to their end after {STALLED_AFTER:g} s.")
                return
            time.sleep(STEP)

    def _pause(self) -> float:
        """Seconds until the next kill."""
        return float(self.asked.kill_every * self.dice.uniform(1 - SPREAD, 1 + SPREAD))

    def _left(self) -> int:
        """How many messages do not have the status that they have to end with."""
        statuses = actual.statuses()
        return sum(
            statuses.get(address) != promised.against(statuses.get(address, "")).status
            for address, promised in self.promises.items()
        )

    def _settle(self) -> None:
        """Wait until nothing new happens; then read all logs once more, and compare the lists."""
        try:
            eventually(self._quiet, 4 * DONE_WITHIN, "the end of all mail jobs", pause=1)
            for kind in ("mail.reconcile", "mail.compare_lists"):
                self._do(kind)
        except TooLateError as error:
            self.problems.append(str(error))

    def _quiet(self) -> bool:
        """True if no job is left and nothing has happened at the provider until its latest events count as settled."""
        self.kills.supervise()
        state = self.simulator.get("")
        left, now = actual.work_left(), time.monotonic()
        counts = (state["calls"], state["events"], left)
        if counts != self._last_seen:
            self._last_seen, self._quiet_since = counts, now
        quiet_for = settings.MAIL_SETTLED_AFTER.total_seconds() + QUIET_BEYOND
        return not left and now - self._quiet_since > quiet_for

    def _do(self, kind: str) -> None:
        """Submit a new job of this kind, and wait for its success."""
        eventually(lambda: not Job.objects.unfinished().filter(kind=kind).exists(), DONE_WITHIN, f"the end of {kind}")
        _submit_once(kind)
        newest = Job.objects.filter(kind=kind).order_by("-pk")

        def succeeded() -> bool:
            self.kills.supervise()
            return newest.values_list("status", flat=True)[0] == Status.SUCCEEDED

        eventually(succeeded, DONE_WITHIN, f"the success of {kind}", pause=0.2)


def _submit_once(kind: str) -> None:
    with suppress(UniqueKeyTaken):
        submit(kind, unique_key=kind)


def _provider_lists() -> dict[str, frozenset[str]]:
    """The addresses on each of the provider's lists, as its own API says."""
    [account] = mailgun_accounts()
    [domain] = account.domains
    with MailgunApi(account) as api:
        return {name: frozenset(_addresses(api, f"{domain}/{name}")) for name in actual.LISTS}


def _addresses(api: MailgunApi, path: str) -> Sequence[str]:
    return [item["address"] for items in api.pages(path, limit="1000") for item in items]
