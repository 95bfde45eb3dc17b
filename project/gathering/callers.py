"""Who asks: the token and user in a gathered statement's rows, judged like in project/login/authentication.py."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from rest.throttling import Allowance, count_requests

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
    return {
        number: allowance
        for user_id, numbers in requests.items()
        for number, allowance in zip(numbers, count_requests(f"user:{user_id}", len(numbers)), strict=True)
    }
