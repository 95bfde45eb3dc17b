"""docs/mail-lifecycle.md, from the precedence of statuses (mail/status.py) and the policy (mail/policy/rules.py)."""

from collections.abc import Iterator
from itertools import groupby

from mail.events.classify import STATUS, EventType
from mail.failure import OUTCOME_OF, FailureClass, Outcome
from mail.importance import EXPIRES_AFTER, PRIORITY, Importance
from mail.policy.decision import DEFAULT_PAUSE, LONGEST_PAUSE, LOOK_UP_FOR
from mail.policy.rules import AlertWhen, Breaker, Rule, Strikes, Suppress, rule_for
from mail.reasons import Scope
from mail.status import PENDING, PRECEDENCE, UNDER_WAY, Status
from tests.generated_pages import comments, row, span, table

HEAD = """# The life of a message

Written by `python -m tests.generated_pages` from `mail/status.py`, `mail/importance.py` and `mail/policy/rules.py`.
Do not edit it: change the code, or the texts in `tests/generated_pages/mail_lifecycle.py`, and write it again.

A message is one row of `mail_message`, stored together with the job that sends it. Each call of a provider is an
attempt, stored before the call; what providers report is an event, stored before it is applied. The timeline of a
message shows both.

"""

PICTURE = f"""```mermaid
stateDiagram-v2
    [*] --> {Status.SCHEDULED}: send_at lies ahead
    [*] --> {Status.QUEUED}
    {Status.SCHEDULED} --> {Status.SENDING}
    {Status.QUEUED} --> {Status.SENDING}: a provider is called
    {Status.SENDING} --> {Status.QUEUED}: another try, by policy
    {Status.SENDING} --> {Status.SENT}: a provider accepts it
    {Status.SENDING} --> {Status.REJECTED}: a provider refuses it
    {Status.QUEUED} --> {Status.SUPPRESSED}: the address is on our list
    {Status.QUEUED} --> {Status.CANCELLED}: its owner cancels it
    {Status.QUEUED} --> {Status.EXPIRED}: not sent in time
    {Status.SENDING} --> {Status.FAILED}: given up
    {Status.SENT} --> {Status.DEFERRED}: event
    {Status.SENT} --> {Status.DELIVERED}: event
    {Status.SENT} --> {Status.BOUNCED}: event
    {Status.DEFERRED} --> {Status.DELIVERED}: event
    {Status.DEFERRED} --> {Status.BOUNCED}: event
    {Status.DELIVERED} --> {Status.COMPLAINED}: event
    {Status.BOUNCED} --> {Status.QUEUED}: critical mail, by policy
```

These are the usual transitions. Events may come late, twice or out of order, so [precedence](#precedence) decides which
status they lead to, and not these arrows.
"""

IMPORTANCE = {
    Importance.CRITICAL: "a password, an alarm: rather twice than never",
    Importance.NORMAL: "rather late than twice",
    Importance.BULK: "a newsletter: rather not at all than against the recipient's will",
}

ALERTS = {AlertWhen.NEVER: "", AlertWhen.AT_ONCE: "at once", AlertWhen.ON_GIVING_UP: "when it is given up"}
BREAKERS = {
    Breaker.LEAVE: "",
    Breaker.COUNT: "its breaker counts",
    Breaker.OPEN: "its breaker opens",
    Breaker.SENDER: "gets no mail of this sender for a while; its breaker opens if it refuses several senders in a row",
}


def page() -> str:
    """The whole page."""
    return HEAD + PICTURE + _statuses() + _precedence() + _importance() + _policy()


def _statuses() -> str:
    texts = comments(Status)
    rows = [row(f"`{status}`", texts[status], _group(status), PRECEDENCE[status]) for status in Status]
    return "\n## Statuses\n\n" + table("status", "meaning", "group", "precedence") + "".join(rows)


def _group(status: Status) -> str:
    if status in PENDING:
        return "pending: the next step is ours"
    return "under way: the next step is the provider's" if status in UNDER_WAY else "terminal"


def _precedence() -> str:
    statuses = sorted(Status, key=lambda status: PRECEDENCE[status])
    steps = [", ".join(map(str, group)) for _, group in groupby(statuses, key=lambda status: PRECEDENCE[status])]
    lines = "".join(f'    w{place}["{step}"]\n' for place, step in enumerate(steps))
    arrows = "    " + " --> ".join(f"w{place}" for place in range(len(steps)))
    events = "".join(
        row(f"`{event}`", f"`{STATUS[event]}`" if event in STATUS else "unchanged: it is counted or noted")
        for event in EventType
    )
    return f"""
## Precedence

A status replaces those of lower precedence, in whatever order events arrive. A late `delivered` never erases a
complaint.

```mermaid
flowchart LR
{lines}{arrows}
```

A message's status after a provider's event, unless its current status has a higher precedence:

{table("event", "status")}{events}"""


def _importance() -> str:
    rows = [
        row(f"`{importance}`", IMPORTANCE[importance], PRIORITY[importance], span(EXPIRES_AFTER[importance]))
        for importance in Importance
    ]
    head = table("importance", "meaning", "priority of its job", "expires, unless `expires_at` says otherwise, after")
    return "\n## Importance\n\n" + head + "".join(rows)


def _policy() -> str:
    head = table("class", "importance", "ends as", "next try", "address", "provider", "alert")
    return f"""
## Policy

What one failure leads to, by failure class and importance (`mail/policy/rules.py`).
[mail-failures.md](mail-failures.md) says which of each provider's words belong to which class, and shows the outcome
case by case.

- *Ends as*: the status when there is no further try.
- *Another provider*: one that has not had the message and can take it now. If there is none, the waits apply.
- *A strike* counts one failure; so many in a row suppress the address. A delivery resets the count.
- `ambiguous`: the provider may have the message. Its events are searched for our attempt before anything is sent
  again, for {span(LOOK_UP_FOR)} at most.
- A provider's pause is what it asks for, {span(DEFAULT_PAUSE)} if it says nothing, and {span(LONGEST_PAUSE)} at most.

{head}{"".join(_rows())}
Where an API answer can have the class, an attempt ends with one of these outcomes; the other classes come from events
only.

{table("outcome of the attempt", "classes")}{_outcomes()}"""


def _rows() -> Iterator[str]:
    for kind in FailureClass:
        rules = [(importance, rule_for(kind, importance)) for importance in Importance]
        for rule, group in groupby(rules, key=lambda pair: pair[1]):
            names = [str(importance) for importance, _ in group]
            yield row(f"`{kind}`", "all" if len(names) == len(Importance) else ", ".join(names), *_cells(rule))


def _cells(rule: Rule) -> tuple[str, ...]:
    ends = f"`{rule.ends}`" if rule.ends else "unchanged"
    provider = "; ".join(filter(None, (BREAKERS[rule.breaker], "is paused" if rule.pause else "")))
    return ends, _next_try(rule), _address(rule), provider, ALERTS[rule.alert]


def _next_try(rule: Rule) -> str:
    if rule.only_elsewhere:
        return "another provider at once; never the same one"
    if rule.ambiguous:
        return _ambiguous(rule)
    parts = []
    if rule.fall_back:
        parts.append("another provider at once")
    if rule.pause:
        parts.append("after the pause")
    elif rule.waits:
        parts.append(f"after {', '.join(map(span, rule.waits))}")
    if rule.endless:
        parts[-1] += ", the last one until it expires" if len(rule.waits) > 1 else ", until it expires"
    return "; ".join(parts) or "none"


def _ambiguous(rule: Rule) -> str:
    limit = "" if rule.endless else f", {len(rule.waits)} times at most"
    after = rule.duplicate_after
    duplicate = f"; in any case after {span(after)}, marked `possible_duplicate`" if after else ""
    return f"at once when the provider is known not to have it{limit}, by another one if possible{duplicate}"


def _address(rule: Rule) -> str:
    parts = [_suppressed(rule.suppress)] if rule.suppress else []
    if rule.strikes:
        parts.append(_strikes(rule.strikes))
    if rule.slow_domain_for:
        parts.append(f"several in a domain: no bulk mail to it for {span(rule.slow_domain_for)}")
    return "; ".join(parts)


def _suppressed(suppress: Suppress) -> str:
    scope = "all mail" if suppress.scope == Scope.ALL else "bulk mail"
    return f"suppressed (`{suppress.reason}`, {scope}, {span(suppress.lasts) if suppress.lasts else 'for good'})"


def _strikes(strikes: Strikes) -> str:
    over = f" over more than {span(strikes.span)}" if strikes.span else ""
    return f"a strike; {strikes.limit} in a row{over}: {_suppressed(strikes.suppress)}"


def _outcomes() -> str:
    return "".join(
        row(f"`{outcome}`", ", ".join(f"`{kind}`" for kind, each in OUTCOME_OF.items() if each == outcome))
        for outcome in Outcome
        if outcome != Outcome.ACCEPTED
    )
