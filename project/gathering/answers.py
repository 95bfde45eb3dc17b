"""What a gathered call answers, before it becomes header fields and bytes."""

from collections.abc import Mapping
from typing import NamedTuple

from rest.throttling import Allowance


class Answer(NamedTuple):
    """fields: those that differ from answer to answer, such as ETag; the others are in heads.py."""

    status: int
    fields: Mapping[str, str]
    body: bytes
    user_id: int
    allowance: Allowance
