"""What DNS says of a domain: whether it takes mail (RFC 5321, 5.1; RFC 7505). What nobody answers is no refusal."""

import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import structlog
from dns.resolver import NXDOMAIN, NoAnswer, Resolver
from email_validator import caching_resolver

log = structlog.get_logger(__name__)

SECONDS = 2
"""That one question may take."""
TOGETHER = 16
"""Domains that are asked for at the same time."""
SECONDS_OF_MANY = 10.0
"""That look_up() may take, however many domains there are."""
KEPT, KEPT_UNKNOWN = 600.0, 60.0
"""Seconds for which a verdict is remembered, and for which nobody is asked again who did not answer."""
REMEMBERED = 10_000
NULL_MX = "."

_verdicts: dict[str, tuple[float, str | None]] = {}


def refusal(domain: str) -> str | None:
    """Why this domain (in ASCII) takes no mail, as a sentence; None when it does, or when nobody can say."""
    until, verdict = _verdicts.get(domain, (0.0, None))
    return verdict if until > time.monotonic() else _asked(domain)


def look_up(domains: Collection[str]) -> None:
    """Have the verdicts on many domains remembered; those that nobody answers for in time are let through."""
    now = time.monotonic()
    new = [domain for domain in domains if _verdicts.get(domain, (0.0, None))[0] < now]
    pool = ThreadPoolExecutor(TOGETHER, thread_name_prefix="dns")
    asked = {pool.submit(_asked, domain): domain for domain in new}
    slow = wait(asked, SECONDS_OF_MANY).not_done
    pool.shutdown(wait=False, cancel_futures=True)
    for future in slow:
        _remember(asked[future], None, KEPT_UNKNOWN)


def _asked(domain: str) -> str | None:
    try:
        return _remember(domain, _verdict(domain), KEPT)
    except Exception as error:  # whatever keeps us from knowing, it is not the sender's fault
        log.warning("domain_not_looked_up", domain=domain, reason=type(error).__name__)
        return _remember(domain, None, KEPT_UNKNOWN)


def _verdict(domain: str) -> str | None:
    """As refusal(). Not as email_validator has it, which also judges by the domain's own sending and by its network."""
    try:
        takes_mail = {str(record.exchange) for record in _resolver().resolve(domain, "MX")} != {NULL_MX}
    except NoAnswer:
        takes_mail = _has(domain, "A") or _has(domain, "AAAA")
    except NXDOMAIN:
        return f"The domain name {domain} does not exist."
    return None if takes_mail else f"The domain name {domain} does not accept email."


def _has(domain: str, kind: str) -> bool:
    try:
        return bool(_resolver().resolve(domain, kind))
    except NoAnswer:
        return False


def _remember(domain: str, verdict: str | None, seconds: float) -> str | None:
    if len(_verdicts) >= REMEMBERED:
        _verdicts.clear()
    _verdicts[domain] = time.monotonic() + seconds, verdict
    return verdict


@cache
def _resolver() -> Resolver:
    return caching_resolver(timeout=SECONDS)
