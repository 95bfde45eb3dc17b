"""Who asks: the token and user in a gathered statement's rows, judged like in project/login/authentication.py."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from rest import throttling
from rest.throttling import Allowance

JOINS = """
    JOIN project_token AS token ON token.digest = asked.digest
    JOIN auth_user AS owner ON owner.id = token.user_id
"""
COLUMNS = "token.user_id, token.expiry, owner.is_active"


class Caller(NamedTuple):
    """The values of COLUMNS."""

    user_id: int
    expiry: datetime | None
    is_active: bool

    def may_call(self, now: datetime) -> bool:
        return self.is_active and (self.expiry is None or self.expiry > now)


def count(users: Mapping[int, int]) -> dict[int, Allowance]:
    """Counts simultaneous requests, given by number with the user's id, for the rate limit; the Allowance of each."""
    requests = defaultdict(list)
    for number, user_id in users.items():
        requests[user_id].append(number)
    allowances: dict[int, Allowance] = {}
    for user_id, numbers in requests.items():
        last = throttling.count(throttling.user_subject(user_id), len(numbers))
        used = range(last.used - len(numbers) + 1, last.used + 1)
        allowances |= {number: replace(last, used=max(count, 0)) for number, count in zip(numbers, used, strict=True)}
    return allowances
