"""Policies: how many machines are wanted, from what was observed at the end of each minute. Pure.

step_* act like Auto Scaling's alarms and step policies, hpa() like KEDA and Kubernetes' autoscaler.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Seen:
    """The end of a minute. age: seconds that the oldest due job has waited. depth: waiting jobs.

    cpu: share of the ready machines' processors in use, 0 to 1. busy: share of their workers that run a job, 0 to 1.
    machines: ordered ones, including those that still start. ready: those that work already.
    """

    age: float
    depth: int
    cpu: float
    busy: float
    machines: int
    ready: int


Policy = Callable[[Sequence[Seen]], int]
"""Given all minutes so far, the newest last, the number of machines that are wanted."""


@dataclass(frozen=True, slots=True)
class Steps:
    """A quarter more machines once the age was over `out` seconds for `after` minutes, twice as many over `urgent`.

    After `quiet` minutes in which fewer would do: one machine less, or the share `shrink` of them if that is more.
    """

    out: float
    urgent: float
    after: int
    quiet: int
    shrink: float = 0.0


@dataclass(frozen=True, slots=True)
class Proportion:
    """Wants the ready machines times age / `target`, or so many that the share `idle` of the workers is idle, if more.

    The number falls to the highest one wanted in the last `window` minutes, by at most the share `shrink` a minute.
    """

    target: float
    idle: float | None = None
    window: int = 15
    shrink: float = 0.1


def step_age(steps: Steps) -> Policy:
    """Fewer machines if no job has waited for a second or longer."""

    def policy(seen: Sequence[Seen]) -> int:
        if all(each.age < 1 for each in seen[-steps.quiet :]) and len(seen) >= steps.quiet:
            return _fewer(seen[-1].machines, steps.shrink)
        return _more(seen, steps)

    return policy


def step_age_and_idle(steps: Steps, idle: float) -> Policy:
    """Fewer machines if more than this share of the workers was idle."""

    def policy(seen: Sequence[Seen]) -> int:
        if all(each.busy < 1 - idle for each in seen[-steps.quiet :]) and len(seen) >= steps.quiet:
            return _fewer(seen[-1].machines, steps.shrink)
        return _more(seen, steps)

    return policy


def step_cpu(out: float = 0.6, shrink_below: float = 0.2) -> Policy:
    """A quarter more over 60 % for two minutes, one machine less after fifteen minutes below 20 %."""

    def policy(seen: Sequence[Seen]) -> int:
        now = seen[-1]
        if len(seen) >= 2 and all(each.cpu > out for each in seen[-2:]):
            return max(now.machines, math.ceil(now.ready * 1.25))
        if len(seen) >= 15 and all(each.cpu < shrink_below for each in seen[-15:]):
            return _fewer(now.machines, 0)
        return now.machines

    return policy


def target_depth(per_machine: float) -> Policy:
    """One machine for so many waiting jobs; fewer only if fewer were enough for a quarter of an hour."""

    def policy(seen: Sequence[Seen]) -> int:
        wanted = max(math.ceil(each.depth / per_machine) for each in seen[-15:])
        return min(max(wanted, seen[-1].machines - max(1, seen[-1].machines // 10)), 2 * seen[-1].machines)

    return policy


def hpa(rule: Proportion) -> Policy:
    """At most twice as many a minute."""

    def wish(seen: Seen) -> int:
        for_age = math.ceil(seen.ready * seen.age / rule.target)
        return for_age if rule.idle is None else max(for_age, math.ceil(seen.ready * seen.busy / (1 - rule.idle)))

    def policy(seen: Sequence[Seen]) -> int:
        now = seen[-1]
        if wish(now) > now.machines:
            return min(wish(now), 2 * now.machines)
        fewest = max(_fewer(now.machines, rule.shrink), *(wish(each) for each in seen[-rule.window :]))
        return min(fewest, now.machines)

    return policy


def _more(seen: Sequence[Seen], steps: Steps) -> int:
    """Counts from the ready machines, as Auto Scaling does, so that those that still start are not ordered twice."""
    now = seen[-1]
    if len(seen) < steps.after or any(each.age <= steps.out for each in seen[-steps.after :]):
        return now.machines
    return max(now.machines, math.ceil(now.ready * (2 if now.age > steps.urgent else 1.25)))


def _fewer(machines: int, share: float) -> int:
    return machines - max(1, int(machines * share))


ELASTIC_BEANSTALK, IDLE = Steps(out=10, urgent=30, after=1, quiet=10, shrink=0.1), 0.3
KUBERNETES = Proportion(target=30, idle=0.3)
"""What deploy/ sets: tests/repository/test_scaling.py compares."""

SLOW = Steps(out=30, urgent=90, after=2, quiet=15)

POLICIES: dict[str, Policy] = {
    "processor use": step_cpu(),
    "depth, 100 a machine": target_depth(100),
    "depth, 4 a machine": target_depth(4),
    "age 30 s, in when none waits": step_age(SLOW),
    "the same, a tenth less at once": step_age(replace(SLOW, shrink=0.1)),
    "age 30 s, idle workers in": step_age_and_idle(replace(SLOW, shrink=0.1), IDLE),
    "age 10 s, idle workers in": step_age_and_idle(ELASTIC_BEANSTALK, IDLE),
    "KEDA: age": hpa(Proportion(target=30)),
    "KEDA: age and running jobs": hpa(KUBERNETES),
}
