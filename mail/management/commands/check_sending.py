"""`manage.py check_sending`: checks SPF, DKIM and DMARC of our sending domains, and says what to put into DNS."""

from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from dns.exception import DNSException
from dns.resolver import NXDOMAIN, NoAnswer, Resolver

from mail.addresses import domain_records
from mail.addresses.domain_records import SELECTORS, Finding, Verdict
from mail.providers.accounts import accounts, address_domain

QUERY_TIMEOUT = 5.0
"""Seconds for one DNS query."""
LINE = "{:<28} {:<6} {:<8} {}"


class Command(BaseCommand):
    help = "Check SPF, DKIM and DMARC of the domains that mail is sent from, and say what to put into DNS."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--selector", action="append", default=[], help="A DKIM selector; may be repeated.")
        parser.add_argument(
            "--nameserver", default="", help="ADDRESS or ADDRESS:PORT of a name server, instead of the system's."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        resolver = TxtResolver(options["nameserver"])
        findings = list(_findings(resolver, options["selector"]))
        for finding in findings:
            self.stdout.write(LINE.format(finding.domain, finding.subject, finding.verdict, finding.detail))
            if finding.advice:
                self.stdout.write(f"    → {finding.advice}")
        if bad := sum(finding.verdict != Verdict.OK for finding in findings):
            raise CommandError(f"{bad} of {len(findings)} checks failed.")


class TxtResolver:
    """Looks up TXT records, at the system's name servers or at ADDRESS or ADDRESS:PORT."""

    def __init__(self, nameserver: str = "") -> None:
        self.resolver = Resolver(configure=not nameserver)
        self.resolver.lifetime = QUERY_TIMEOUT
        if nameserver:
            address, _, port = nameserver.partition(":")
            try:
                self.resolver.nameservers, self.resolver.port = [address], int(port or 53)
            except ValueError:
                raise CommandError(f"--nameserver must be ADDRESS or ADDRESS:PORT, not {nameserver}.") from None

    def records(self, name: str) -> list[str]:
        """The TXT records of this name; none if it does not exist. Raises DNSException without an answer."""
        try:
            answer = self.resolver.resolve(name, "TXT")
        except (NXDOMAIN, NoAnswer):
            return []
        return [b"".join(record.strings).decode(errors="replace") for record in answer]


def _findings(resolver: TxtResolver, selectors: Sequence[str]) -> Iterator[Finding]:
    services, senders = _services(), _senders()
    for domain in dict.fromkeys([*services, *senders]):
        yield from _check_domain(resolver, domain, services.get(domain, set()), selectors)
    for sender in senders:
        for signer in dict.fromkeys(account.domain_for(sender) for account in accounts()):
            yield domain_records.check_alignment(sender, signer)


def _check_domain(
    resolver: TxtResolver, domain: str, services: set[str], selectors: Sequence[str]
) -> Iterator[Finding]:
    """services: those that sign for the domain. Without any only DMARC is checked."""
    names = [*selectors, *(name for service in sorted(services) for name in SELECTORS.get(service, ()))]
    if services:
        yield _checked(domain, "SPF", lambda: domain_records.check_spf(domain, resolver.records(domain), services))
        yield _checked(domain, "DKIM", lambda: domain_records.check_dkim(domain, _keys(resolver, domain, names)))
    yield _checked(domain, "DMARC", lambda: domain_records.check_dmarc(domain, _dmarc_records(resolver, domain)))


def _services() -> dict[str, set[str]]:
    """The services that sign for each domain."""
    found: dict[str, set[str]] = defaultdict(set)
    for account in accounts():
        for sender in _senders():
            found[account.domain_for(sender)].add(account.esp)
    return dict(found)


def _senders() -> list[str]:
    """The domains that mail may come from."""
    domains = [address_domain(settings.MAIL_FROM), *settings.MAIL_FROM_DOMAINS]
    return list(dict.fromkeys(domain.lower() for domain in domains))


def _checked(domain: str, subject: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except DNSException as error:
        detail = f"DNS did not answer: {type(error).__name__}"
        return Finding(domain, subject, Verdict.UNKNOWN, detail, "Try again later.")


def _keys(resolver: TxtResolver, domain: str, selectors: Sequence[str]) -> dict[str, list[str]]:
    return {selector: resolver.records(f"{selector}._domainkey.{domain}") for selector in dict.fromkeys(selectors)}


def _dmarc_records(resolver: TxtResolver, domain: str) -> list[str]:
    """Of the domain, or of the nearest parent domain that has any."""
    labels = domain.split(".")
    for depth in range(max(len(labels) - 1, 1)):
        if texts := resolver.records(f"_dmarc.{'.'.join(labels[depth:])}"):
            return texts
    return []
