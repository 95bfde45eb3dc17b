"""The Prefer header field (RFC 7240), of which `wait` is understood."""

import re

from rest_framework.request import Request

LONGEST_WAIT = 30
"""Seconds: proxies and clients usually give up after a minute."""

QUOTED = re.compile(r'"((?:[^"\\]|\\.){0,100})"')


def wait_seconds(request: Request) -> int:
    """The seconds that the client wants to wait, LONGEST_WAIT at most; 0 if it does not want to.

    Unknown and malformed preferences are ignored, and repetitions of one.
    """
    field = QUOTED.sub(lambda quoted: quoted[1] if quoted[1].isalnum() else "", request.headers.get("Prefer", ""))
    for preference in field.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            digits = re.fullmatch(r"\s*([0-9]{1,9})\s*", value)
            return min(int(digits[1]), LONGEST_WAIT) if digits else 0
    return 0
