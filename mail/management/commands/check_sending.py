"""`manage.py check_sending`: whether DNS lets us send from our domains (SPF, DKIM, DMARC), and what to put there."""

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

SECONDS = 5.0
"""That one question may take."""
LINE = "{:<28} {:<6} {:<8} {}"


class Command(BaseCommand):
    help = "Ask DNS for SPF, DKIM and DMARC of the domains that mail is sent from, and say what to put there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--selector", action="append", default=[], help="A DKIM selector; may be repeated.")
        parser.add_argument("--nameserver", default="", help="ADDRESS or ADDRESS:PORT to ask, instead of the system's.")

    def handle(self, *args: Any, **options: Any) -> None:
        records = Records(options["nameserver"])
        found = list(_findings(records, options["selector"]))
        for finding in found:
            self.stdout.write(LINE.format(finding.domain, finding.subject, finding.verdict, finding.said))
            if finding.advice:
                self.stdout.write(f"    → {finding.advice}")
        if bad := sum(finding.verdict != Verdict.OK for finding in found):
            raise CommandError(f"{bad} of {len(found)} checks failed.")


class Records:
    """TXT records, from the system's name servers or the one that is given as ADDRESS or ADDRESS:PORT."""

    def __init__(self, nameserver: str = "") -> None:
        self.resolver = Resolver(configure=not nameserver)
        self.resolver.lifetime = SECONDS
        if nameserver:
            address, _, port = nameserver.partition(":")
            try:
                self.resolver.nameservers, self.resolver.port = [address], int(port or 53)
            except ValueError:
                raise CommandError(f"--nameserver is ADDRESS or ADDRESS:PORT, and not {nameserver}.") from None

    def texts(self, name: str) -> list[str]:
        """Of this name; none where it does not exist. Raises DNSException when nobody answers."""
        try:
            answer = self.resolver.resolve(name, "TXT")
        except (NXDOMAIN, NoAnswer):
            return []
        return [b"".join(record.strings).decode(errors="replace") for record in answer]


def _findings(records: Records, selectors: Sequence[str]) -> Iterator[Finding]:
    services, senders = _services(), _senders()
    for domain in dict.fromkeys([*services, *senders]):
        yield from _of_domain(records, domain, services.get(domain, set()), selectors)
    for sender in senders:
        for signer in dict.fromkeys(account.domain_for(sender) for account in accounts()):
            yield domain_records.alignment(sender, signer)


def _of_domain(records: Records, domain: str, services: set[str], selectors: Sequence[str]) -> Iterator[Finding]:
    """services: those that sign for the domain; without any only DMARC matters."""
    names = [*selectors, *(name for service in sorted(services) for name in SELECTORS.get(service, ()))]
    if services:
        yield _asked(domain, "SPF", lambda: domain_records.spf(domain, records.texts(domain), services))
        yield _asked(domain, "DKIM", lambda: domain_records.dkim(domain, _keys(records, domain, names)))
    yield _asked(domain, "DMARC", lambda: domain_records.dmarc(domain, _dmarc_texts(records, domain)))


def _services() -> dict[str, set[str]]:
    """By domain that signs: the services that send from it."""
    found: dict[str, set[str]] = defaultdict(set)
    for account in accounts():
        for sender in _senders():
            found[account.domain_for(sender)].add(account.esp)
    return dict(found)


def _senders() -> list[str]:
    """The domains that mail may come from."""
    domains = [address_domain(settings.MAIL_FROM), *settings.MAIL_FROM_DOMAINS]
    return list(dict.fromkeys(domain.lower() for domain in domains))


def _asked(domain: str, subject: str, find: Callable[[], Finding]) -> Finding:
    try:
        return find()
    except DNSException as error:
        said = f"DNS did not answer: {type(error).__name__}"
        return Finding(domain, subject, Verdict.UNKNOWN, said, "Ask again later.")


def _keys(records: Records, domain: str, selectors: Sequence[str]) -> dict[str, list[str]]:
    return {selector: records.texts(f"{selector}._domainkey.{domain}") for selector in dict.fromkeys(selectors)}


def _dmarc_texts(records: Records, domain: str) -> list[str]:
    """Of the domain, or else of the nearest one above it that has a record."""
    labels = domain.split(".")
    for depth in range(max(len(labels) - 1, 1)):
        if texts := records.texts(f"_dmarc.{'.'.join(labels[depth:])}"):
            return texts
    return []
