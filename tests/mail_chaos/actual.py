"""What has become of each message, as the database, the provider and its lists say it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Count

from jobs.models import Job
from mail.models import Alert, Attempt, Event, Message, Suppression
from tests.mail_chaos.promises import LISTED, SOFTLY, SUPPRESSED_BY, Fact, Promise
from tests.support.servers.simulator import Simulator

LISTS = tuple(LISTED)


@dataclass(frozen=True, slots=True)
class Actual:
    """copies: mails that the provider has accepted. listed: the provider's lists that have the address."""

    status: str
    importance: str
    possible_duplicate: bool
    copies: int
    suppressions: frozenset[Fact]
    alerts: frozenset[str]
    listed: frozenset[str]


def statuses() -> dict[str, str]:
    """The status of each message, by address: one quick query, repeated while mail is under way."""
    return dict(Message.objects.order_by().values_list("address", "status"))


def actual_ends(simulator: Simulator, lists: Mapping[str, frozenset[str]]) -> dict[str, Actual]:
    """What became of each message, by address. lists: the addresses on each of the provider's lists."""
    accounts = simulator.get("accepted")["messages"]
    alerts: dict[object, set[str]] = defaultdict(set)
    for message, kind in Alert.objects.exclude(message=None).values_list("message", "kind"):
        alerts[message].add(kind)
    suppressions: dict[str, set[Fact]] = defaultdict(set)
    for address, reason, scope in Suppression.objects.in_force().values_list("address", "reason", "scope"):
        suppressions[address].add((reason, scope))
    rows = Message.objects.order_by().values_list("pk", "address", "status", "importance", "possible_duplicate")
    return {
        address: Actual(
            status=status,
            importance=importance,
            possible_duplicate=duplicate,
            copies=accounts.get(str(pk), {"accepted": 0})["accepted"],
            suppressions=frozenset(suppressions[address]),
            alerts=frozenset(alerts[pk]),
            listed=frozenset(name for name in LISTS if address in lists[name]),
        )
        for pk, address, status, importance, duplicate in rows
    }


def broken_promises(promises: Mapping[str, Promise], found: Mapping[str, Actual]) -> list[tuple[str, str]]:
    """Addresses, and what is wrong with each."""
    return [
        *((address, "was posted and has no message") for address in promises.keys() - found.keys()),
        *((address, "has a message and was never posted") for address in found.keys() - promises.keys()),
        *((address, f"has {count} messages") for address, count in _twice()),
        *((address, "is suppressed and was never written to") for address in _strangers(promises)),
        *(
            (address, what)
            for address in promises.keys() & found.keys()
            for what in _broken(promises[address], found[address])
        ),
    ]


def _broken(promised: Promise, found: Actual) -> Iterator[str]:
    promised = promised.against(found.status)
    if promised.meets_list and found.status == "bounced" and not found.possible_duplicate:
        yield "is bounced, and its second copy ought to have been refused by the provider's list"
    if found.status != promised.status:
        yield f"is {found.status}, and ought to be {promised.status}"
    if found.copies < promised.copies:
        yield f"was taken by the provider {found.copies} times, and ought to be {promised.copies} times"
    if found.copies > promised.copies and not _may_be_doubled(found):
        yield f"was sent {found.copies} times, and ought to be {promised.copies} times"
    if found.possible_duplicate and found.importance != "critical":
        yield "may have been sent twice, and is not critical"
    if missing := promised.suppressions - found.suppressions:
        yield f"ought to be suppressed: {_shown(missing)}"
    if more := found.suppressions - promised.suppressions - _of_a_second_copy(promised, found):
        yield f"ought not to be suppressed: {_shown(more)}"
    yield from _broken_alerts(promised, found)
    yield from _broken_lists(promised, found)


def _broken_alerts(promised: Promise, found: Actual) -> Iterator[str]:
    if missing := promised.alerts - found.alerts:
        yield f"has no alert of {', '.join(sorted(missing))}"
    second = set()
    if promised.listed and found.importance == "critical" and found.possible_duplicate:
        second = {LISTED[promised.listed], "suppressed"}  # alerts about a second copy, sent or held back
    if more := found.alerts - promised.alerts - promised.may_alert - second:
        yield f"has an alert of {', '.join(sorted(more))}"


def _broken_lists(promised: Promise, found: Actual) -> Iterator[str]:
    """The provider's lists have to be as promised, and each of their entries known to us."""
    if found.listed != ({promised.listed} if promised.listed else set()):
        yield f"is on the provider's lists: {', '.join(found.listed) or 'none'}, not {promised.listed or 'none'}"
    for name in found.listed:
        if SUPPRESSED_BY[name].isdisjoint(reason for reason, _ in found.suppressions):
            yield f"is among the provider's {name}, and is not suppressed for it by us"


def _may_be_doubled(found: Actual) -> bool:
    return found.importance == "critical" and found.possible_duplicate


def _of_a_second_copy(promised: Promise, found: Actual) -> frozenset[Fact]:
    """Suppressions that may follow from a second copy as well as from comparing the lists."""
    doubled = found.copies > promised.copies and promised.listed == "bounces"
    return frozenset({("bounce", "all")} if doubled else ()) | (SOFTLY if promised.meets_list else frozenset())


def _twice() -> Sequence[tuple[str, int]]:
    counted = Message.objects.order_by().values_list("address").annotate(count=Count("pk"))
    return list(counted.filter(count__gt=1))


def _strangers(promises: Mapping[str, Promise]) -> set[str]:
    return set(Suppression.objects.values_list("address", flat=True)) - promises.keys()


def _shown(facts: frozenset[Fact]) -> str:
    return ", ".join(f"{reason} ({scope})" for reason, scope in sorted(facts))


def work_left() -> int:
    """How many jobs about mail have not ended."""
    return int(Job.objects.unfinished().filter(kind__startswith="mail.").count())


def attempts_by_class() -> Counter[str]:
    """How many calls of the provider failed, by class of failure."""
    rows = Attempt.objects.exclude(failure_class="").order_by().values_list("failure_class")
    return Counter(dict(rows.annotate(count=Count("pk"))))


def events_by_source() -> Counter[str]:
    """How many of the provider's events were believed: told by a webhook, or looked up."""
    believed = Event.objects.filter(disregarded="").exclude(source=Event.Source.OURS)
    return Counter(dict(believed.order_by().values_list("source").annotate(count=Count("pk"))))
