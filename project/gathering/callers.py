"""Who asks: the token and user in a gathered statement's rows, checked as in project/login/authentication.py."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from project.login.last_used import last_used
from project.models import is_live
from rest import scopes, throttling
from rest.throttling import Allowance

JOINS = """
    JOIN project_token AS token ON token.digest = asked.digest
    JOIN auth_user AS owner ON owner.id = token.user_id
"""
COLUMNS = (
    "token.user_id, token.expiry, owner.is_active, "
    "token.id, token.scope, token.last_used_on, token.password_digest, owner.password"
)


class Caller(NamedTuple):
    """The values of COLUMNS."""

    user_id: int
    expiry: datetime | None
    is_active: bool
    token_id: UUID
    scope: str
    last_used_on: date | None
    password_digest: str
    password: str

    def may(self, method: str, path: str, now: datetime) -> bool:
        """Whether the token is live and its scope allows this request; notes its use."""
        live = is_live(self.expiry, self.password_digest, self.password, self.is_active, now)
        if not live or not scopes.allows(self.scope, method, path):
            return False
        last_used.note(UUID(str(self.token_id)), self.last_used_on)
        return True


def count(users: Mapping[int, int]) -> dict[int, Allowance]:
    """Count these requests for the rate limit; returns the Allowance of each. users: the user's id by request."""
    requests = defaultdict(list)
    for number, user_id in users.items():
        requests[user_id].append(number)
    allowances: dict[int, Allowance] = {}
    for user_id, numbers in requests.items():
        last = throttling.count(throttling.user_subject(user_id), len(numbers))
        used = range(last.used - len(numbers) + 1, last.used + 1)
        allowances |= {number: replace(last, used=max(count, 0)) for number, count in zip(numbers, used, strict=True)}
    return allowances
