"""The printed tables: what was done and how often, and where the messages that met each failure have ended."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from tests.mail_chaos import actual
from tests.mail_chaos.actual import Actual
from tests.mail_chaos.plan import CALLS, FINE, IMPORTANCES, OUTCOMES, WEBHOOKS, Planned
from tests.mail_chaos.promises import Promise

console = Console(width=150)


def show_counts(title: str, counts: Mapping[str, int]) -> None:
    table = Table("what", "how often", title=title)
    for what, count in counts.items():
        table.add_row(what, str(count))
    console.print(table)


def counts(promises: Mapping[str, Promise], found: Mapping[str, Actual]) -> dict[str, int]:
    """What became of all messages together."""
    rows = {"messages posted": len(promises), "messages stored": len(found)}
    for importance in IMPORTANCES:
        extra = [
            each.copies - promises[address].copies
            for address, each in found.items()
            if each.importance == importance and each.copies > promises[address].copies
        ]
        rows[f"{importance} messages sent more often than their failures ask for"] = len(extra)
    for kind, count in sorted(actual.attempts_by_class().items()):
        rows[f"calls that failed: {kind}"] = count
    for source, count in sorted(actual.events_by_source().items()):
        rows[f"events learnt by {source}"] = count
    for name in actual.LISTS:
        rows[f"addresses among the provider's {name}, all suppressed here"] = sum(
            name in each.listed for each in found.values()
        )
    rows["addresses suppressed here"] = sum(bool(each.suppressions) for each in found.values())
    return rows


def show_failures(messages: Sequence[Planned], found: Mapping[str, Actual], broken: Collection[str]) -> None:
    """A row for each failure of each group. A message that meets failures of several groups stands in as many rows."""
    table = Table("failure", "messages", "as promised", *IMPORTANCES)
    for name, met in _groups(messages):
        kept = sum(message.address not in broken for message in met)
        ends = [_ends(met, importance, found) for importance in IMPORTANCES]
        table.add_row(name, str(len(met)), str(kept), *ends)
    console.print(table)


def _groups(messages: Sequence[Planned]) -> Iterator[tuple[str, list[Planned]]]:
    for outcome in (FINE, *OUTCOMES):
        yield f"outcome: {outcome}", [message for message in messages if message.outcome == outcome]
    for call in CALLS:
        yield f"call: {call}", [message for message in messages if message.call == call]
    for webhooks in WEBHOOKS:
        yield f"webhooks: {webhooks}", [message for message in messages if message.webhooks == webhooks]
    yield "in the broadcast", [message for message in messages if message.in_broadcast]
    yield "all", list(messages)


def _ends(messages: Sequence[Planned], importance: str, found: Mapping[str, Actual]) -> str:
    statuses = Counter(
        found[message.address].status
        for message in messages
        if message.importance == importance and message.address in found
    )
    return ", ".join(f"{count} {status}" for status, count in statuses.most_common())
