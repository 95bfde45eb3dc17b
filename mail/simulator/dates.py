"""Dates as Mailgun takes them. Pure."""

from email.utils import parsedate_to_datetime

from mail.simulator.http import RefusedError


def read_date(field: str, given: str) -> float | None:
    """Seconds since the epoch of an RFC 2822 date, or of such seconds written out; None of nothing."""
    if not given:
        return None
    try:
        return float(given) if given.replace(".", "", 1).isdecimal() else parsedate_to_datetime(given).timestamp()
    except (ValueError, OverflowError):
        raise RefusedError(400, f"{field} parameter is not a valid date") from None
