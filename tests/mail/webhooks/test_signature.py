"""The form and the age of a signature; Anymail checks the signature itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mail.webhooks.signature import (
    MAX_AGE,
    MAX_CLOCK_SKEW,
    MAX_TOKEN_LENGTH,
    BadSignature,
    NoSignature,
    check_age,
    token_of,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
GOOD = {"token": "t", "timestamp": "1772323200"}


@pytest.mark.parametrize(
    "block",
    [
        GOOD,
        GOOD | {"token": "t" * MAX_TOKEN_LENGTH},
        *[GOOD | {"timestamp": timestamp} for timestamp in (1772323200, "0", "9" * 11)],
    ],
)
def test_a_block_of_the_right_form_has_a_token(block: dict[str, Any]) -> None:
    assert token_of(block) == block["token"]


@pytest.mark.parametrize("token", [None, 1, b"t", "", "t" * (MAX_TOKEN_LENGTH + 1), "é", "a\0b"])
def test_an_invalid_token_is_refused(token: object) -> None:
    for block in (GOOD | {"token": token}, {"timestamp": "1"}):
        with pytest.raises(NoSignature, match=r"^The signature has no token\.$"):
            token_of(block)


@pytest.mark.parametrize("timestamp", [None, "", "-1", "1.5", "9" * 12, " 1", "1\n", "\u0661"])
def test_an_invalid_timestamp_is_refused(timestamp: object) -> None:
    for block in (GOOD | {"timestamp": timestamp}, {"token": "t"}):
        with pytest.raises(NoSignature, match=r"^The signature has no timestamp\.$"):
            token_of(block)


@pytest.mark.parametrize("age", [-MAX_CLOCK_SKEW, timedelta(0), MAX_AGE])
@pytest.mark.parametrize("kind", [int, str])
def test_a_signature_is_good_for_a_day(age: timedelta, kind: type) -> None:
    check_age({"timestamp": kind(int((NOW - age).timestamp()))}, NOW)


@pytest.mark.parametrize("age", [-MAX_CLOCK_SKEW - SECOND, MAX_AGE + SECOND])
def test_an_old_signature_or_one_from_the_future_is_refused(age: timedelta) -> None:
    with pytest.raises(BadSignature, match=r"^The signature is older than 24 hours, or from the future\.$") as error:
        check_age({"timestamp": str(int((NOW - age).timestamp()))}, NOW)
    assert not isinstance(error.value, NoSignature)
