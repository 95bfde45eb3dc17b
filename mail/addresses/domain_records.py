"""What DNS must say of a domain that mail is sent from: SPF, DKIM and DMARC records are judged here. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    WRONG = "wrong"
    MISSING = "missing"
    UNKNOWN = "unknown"  # DNS did not answer


@dataclass(frozen=True, slots=True)
class Finding:
    """About one record of one domain. advice: what to put into DNS, or to do; empty when it is as it should be."""

    domain: str
    subject: str
    verdict: Verdict
    said: str
    advice: str = ""


SPF_INCLUDES: Mapping[str, str] = {
    "amazon_ses": "amazonses.com",
    "mailersend": "_spf.mailersend.net",
    "mailgun": "mailgun.org",
    "mailjet": "spf.mailjet.com",
    "mandrill": "spf.mandrillapp.com",
    "postmark": "spf.mtasv.net",
    "sendgrid": "sendgrid.net",
}
"""What each service wants to be included; of others only that there is a record is checked."""

SELECTORS: Mapping[str, Sequence[str]] = {
    "mailersend": ("mlsend", "mlsend2"),
    "mailgun": ("mx", "pic", "k1", "krs", "smtp", "mailo", "email", "s1", "mta", "mg"),
    "mailjet": ("mailjet",),
    "mandrill": ("mte1", "mte2", "mandrill"),
    "resend": ("resend",),
    "sendgrid": ("s1", "s2"),
}
"""Selectors that services use; theirs are often a domain's own, which only its control panel shows."""

SHORTEST_KEY = 210
"""Characters in base64: an RSA key of 1024 bits, the shortest that Gmail takes, has 216."""


def spf(domain: str, texts: Sequence[str], services: Collection[str]) -> Finding:
    """RFC 7208. services: Anymail's names of those that send from the domain."""
    wanted = [SPF_INCLUDES[service] for service in sorted(services) if service in SPF_INCLUDES]
    records = [text for text in texts if re.match(r"v=spf1( |$)", text, re.IGNORECASE)]
    whole = " ".join(["v=spf1", *(f"include:{name}" for name in wanted), "~all"])
    if not records:
        return Finding(domain, "SPF", Verdict.MISSING, "no record", f'{domain} TXT "{whole}"')
    if len(records) > 1:
        return Finding(
            domain, "SPF", Verdict.WRONG, f"{len(records)} records", "Merge them: only one may begin v=spf1."
        )
    terms = records[0].lower().split()
    if {"+all", "all"} & set(terms):
        return Finding(domain, "SPF", Verdict.WRONG, records[0], "Replace +all, by which anybody may send, by ~all.")
    lacking = [name for name in wanted if f"include:{name}" not in [term.lstrip("+") for term in terms]]
    if lacking:
        advice = f"Add {' '.join(f'include:{name}' for name in lacking)} behind v=spf1."
        return Finding(domain, "SPF", Verdict.WRONG, records[0], advice)
    return Finding(domain, "SPF", Verdict.OK, records[0])


def dkim(domain: str, found: Mapping[str, Sequence[str]]) -> Finding:
    """RFC 6376. found: TXT records by selector."""
    keys = {selector: read for selector, texts in found.items() for text in texts if (read := _key(text)) is not None}
    good = [selector for selector, (key, is_rsa) in keys.items() if key and (len(key) >= SHORTEST_KEY or not is_rsa)]
    if good:
        return Finding(domain, "DKIM", Verdict.OK, f"selector {', '.join(good)}")
    if keys:
        selector, (key, _) = next(iter(keys.items()))
        said = f"selector {selector}: the key is {'too short' if key else 'revoked'}"
        return Finding(
            domain, "DKIM", Verdict.WRONG, said, "Put the provider's present key there, of 1024 bits or more."
        )
    advice = f'SELECTOR._domainkey.{domain} TXT "k=rsa; p=…", as the provider shows it; then --selector SELECTOR'
    return Finding(domain, "DKIM", Verdict.MISSING, f"no key of {', '.join(found) or 'any selector'}", advice)


def dmarc(domain: str, texts: Sequence[str]) -> Finding:
    """RFC 7489. texts: the TXT records of _dmarc below the domain, or below the next domain above that has any."""
    records = [text for text in texts if re.match(r"v=DMARC1\s*(;|$)", text)]
    whole = f'_dmarc.{domain} TXT "v=DMARC1; p=none; rua=mailto:dmarc@{domain}"'
    if not records:
        return Finding(domain, "DMARC", Verdict.MISSING, "no record", whole)
    if len(records) > 1:
        return Finding(domain, "DMARC", Verdict.WRONG, f"{len(records)} records", "Keep one of them.")
    tags = dict(re.findall(r"(\w+)\s*=\s*([^;]*[^;\s])", records[0]))
    if tags.get("p") not in ("none", "quarantine", "reject"):
        return Finding(domain, "DMARC", Verdict.WRONG, records[0], "Say p=none, p=quarantine or p=reject in it.")
    return Finding(domain, "DMARC", Verdict.OK, records[0])


def alignment(sender: str, signer: str) -> Finding:
    """Whether what a provider signs for one domain counts for mail from the other (RFC 7489, 3.1, relaxed)."""
    aligned = sender == signer or sender.endswith(f".{signer}") or signer.endswith(f".{sender}")
    if aligned:
        return Finding(sender, "From", Verdict.OK, f"mail is signed by {signer}")
    advice = f"Send from {signer} or a domain above or below it, or verify {sender} with the provider."
    return Finding(sender, "From", Verdict.WRONG, f"mail is signed by {signer}, which DMARC does not count", advice)


def _key(text: str) -> tuple[str, bool] | None:
    """The public key of a DKIM record, empty when it is revoked, and whether it is an RSA key; None for other text."""
    tags = {name.strip(): value for name, _, value in (part.partition("=") for part in text.split(";"))}
    if "p" not in tags:
        return None
    return re.sub(r"\s", "", tags["p"]), tags.get("k", "rsa").strip() == "rsa"
