"""Whether a domain takes mail, by DNS (RFC 5321, 5.1; RFC 7505). A domain is let through when DNS does not answer."""

import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import structlog
from dns.resolver import NXDOMAIN, NoAnswer, Resolver
from email_validator import caching_resolver

log = structlog.get_logger(__name__)

QUERY_TIMEOUT = 2
"""Seconds for one DNS query."""
MAX_PARALLEL_LOOKUPS = 16
LOOK_UP_ALL_TIMEOUT = 10.0
"""Seconds for look_up_all(), however many domains it is given."""
VERDICT_TTL, UNKNOWN_TTL = 600.0, 60.0
"""Seconds for which a verdict is cached, and for which a domain without an answer is not queried again."""
MAX_CACHED = 10_000
NULL_MX = "."
"""The exchange of a domain that declares that it takes no mail (RFC 7505)."""

_verdicts: dict[str, tuple[float, str | None]] = {}


def undeliverable_reason(domain: str) -> str | None:
    """Why this domain (in ASCII) takes no mail, as a sentence. None: it does, or DNS did not answer."""
    until, verdict = _verdicts.get(domain, (0.0, None))
    return verdict if until > time.monotonic() else _look_up(domain)


def is_known(domain: str) -> bool:
    """True if undeliverable_reason() answers from the cache for at least QUERY_TIMEOUT more seconds."""
    return _verdicts.get(domain, (0.0, None))[0] > time.monotonic() + QUERY_TIMEOUT


def look_up_all(domains: Collection[str]) -> None:
    """Cache the verdicts on many domains, queried in parallel. Those without an answer in time are let through."""
    now = time.monotonic()
    new = [domain for domain in domains if _verdicts.get(domain, (0.0, None))[0] < now]
    pool = ThreadPoolExecutor(MAX_PARALLEL_LOOKUPS, thread_name_prefix="dns")
    asked = {pool.submit(_look_up, domain): domain for domain in new}
    slow = wait(asked, LOOK_UP_ALL_TIMEOUT).not_done
    pool.shutdown(wait=False, cancel_futures=True)
    for future in slow:
        _cache(asked[future], None, UNKNOWN_TTL)


def _look_up(domain: str) -> str | None:
    try:
        return _cache(domain, _verdict(domain), VERDICT_TTL)
    except Exception as error:  # a failed lookup is not the sender's fault, whatever its cause
        log.warning("domain_lookup_failed", domain=domain, reason=type(error).__name__)
        return _cache(domain, None, UNKNOWN_TTL)


def _verdict(domain: str) -> str | None:
    """As undeliverable_reason(), from DNS.

    email_validator's own check would also refuse some domains without an MX record: for a private address, or for SPF.
    """
    try:
        takes_mail = {str(record.exchange) for record in _resolver().resolve(domain, "MX")} != {NULL_MX}
    except NoAnswer:
        takes_mail = _has_record(domain, "A") or _has_record(domain, "AAAA")
    except NXDOMAIN:
        return f"The domain name {domain} does not exist."
    return None if takes_mail else f"The domain name {domain} does not accept email."


def _has_record(domain: str, kind: str) -> bool:
    try:
        return bool(_resolver().resolve(domain, kind))
    except NoAnswer:
        return False


def _cache(domain: str, verdict: str | None, seconds: float) -> str | None:
    if len(_verdicts) >= MAX_CACHED:
        _verdicts.clear()
    _verdicts[domain] = time.monotonic() + seconds, verdict
    return verdict


@cache
def _resolver() -> Resolver:
    return caching_resolver(timeout=QUERY_TIMEOUT)
