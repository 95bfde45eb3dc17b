"""Lets the policy's time pass more quickly; what it decides stays the same."""

from dataclasses import replace
from datetime import timedelta
from importlib import import_module

from django.apps import AppConfig

from mail.policy import decision, rules

QUICKER = 60
"""A minute of the table takes a second."""
DUPLICATE_AFTER = timedelta(seconds=1)
"""How long critical mail bears an unclear attempt; shorter than the simulator's events are indexed at times."""
SHORTEST_LOOKUP_WAIT = timedelta(seconds=2)
FAILURES_IN_A_ROW = 20
"""Half of the calls fail here, so that a few in a row are no sign that the provider is away."""
PROBE_RESERVED_FOR = timedelta(seconds=6)
"""Twice MAIL_TIMEOUT: whoever is killed while trying a provider keeps the others waiting for so long."""


class MailChaosConfig(AppConfig):
    name = "tests.mail_chaos"

    def ready(self) -> None:
        decision.SHORTEST_LOOKUP_WAIT = SHORTEST_LOOKUP_WAIT
        breakers = import_module("mail.providers.breakers")  # it needs models, which are known now
        breakers.PROBE_RESERVED_FOR, breakers.FAILURES_IN_A_ROW = PROBE_RESERVED_FOR, FAILURES_IN_A_ROW
        for kind, row in rules.TABLE.items():
            critical, normal, bulk = map(_quicker, row)
            rules.TABLE[kind] = (critical, normal, bulk)


def _quicker(rule: rules.Rule) -> rules.Rule:
    return replace(
        rule,
        waits=tuple(wait / QUICKER for wait in rule.waits),
        slow_domain_for=rule.slow_domain_for and rule.slow_domain_for / QUICKER,
        duplicate_after=rule.duplicate_after and DUPLICATE_AFTER,
    )
