"""Checks the SPF, DKIM and DMARC records of a sending domain (manage.py check_sending). Pure."""

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
    """The check of one record of one domain. advice: what to put into DNS or to do; empty if the record is right."""

    domain: str
    subject: str
    verdict: Verdict
    detail: str
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
"""Domain that the SPF record must include, by service. For other services any SPF record will do."""

SELECTORS: Mapping[str, Sequence[str]] = {
    "mailersend": ("mlsend", "mlsend2"),
    "mailgun": ("mx", "pic", "k1", "krs", "smtp", "mailo", "email", "s1", "mta", "mg"),
    "mailjet": ("mailjet",),
    "mandrill": ("mte1", "mte2", "mandrill"),
    "resend": ("resend",),
    "sendgrid": ("s1", "s2"),
}
"""Selectors that services use. Many are individual: only the service's control panel shows them."""

MIN_KEY_LENGTH = 210
"""Base64 characters. An RSA key of 1024 bits, the shortest that Gmail takes, has 216."""


def check_spf(domain: str, texts: Sequence[str], services: Collection[str]) -> Finding:
    """RFC 7208. services: those that send from the domain, by Anymail's names."""
    wanted = [SPF_INCLUDES[service] for service in sorted(services) if service in SPF_INCLUDES]
    records = [text for text in texts if re.match(r"v=spf1( |$)", text, re.IGNORECASE)]
    example = " ".join(["v=spf1", *(f"include:{name}" for name in wanted), "~all"])
    if not records:
        return Finding(domain, "SPF", Verdict.MISSING, "no record", f'{domain} TXT "{example}"')
    if len(records) > 1:
        return Finding(
            domain,
            "SPF",
            Verdict.WRONG,
            f"{len(records)} records",
            "Merge them: only one record may begin with v=spf1.",
        )
    terms = records[0].lower().split()
    if {"+all", "all"} & set(terms):
        return Finding(domain, "SPF", Verdict.WRONG, records[0], "Replace +all by ~all: +all lets everybody send.")
    missing = [name for name in wanted if f"include:{name}" not in [term.lstrip("+") for term in terms]]
    if missing:
        advice = f"Add {' '.join(f'include:{name}' for name in missing)} after v=spf1."
        return Finding(domain, "SPF", Verdict.WRONG, records[0], advice)
    return Finding(domain, "SPF", Verdict.OK, records[0])


def check_dkim(domain: str, found: Mapping[str, Sequence[str]]) -> Finding:
    """RFC 6376. found: TXT records by selector."""
    keys = {selector: read for selector, texts in found.items() for text in texts if (read := _key(text)) is not None}
    good = [selector for selector, (key, is_rsa) in keys.items() if key and (len(key) >= MIN_KEY_LENGTH or not is_rsa)]
    if good:
        return Finding(domain, "DKIM", Verdict.OK, f"selector {', '.join(good)}")
    if keys:
        selector, (key, _) = next(iter(keys.items()))
        detail = f"selector {selector}: the key is {'too short' if key else 'revoked'}"
        return Finding(
            domain, "DKIM", Verdict.WRONG, detail, "Publish the provider's current key, of at least 1024 bits."
        )
    advice = f'SELECTOR._domainkey.{domain} TXT "k=rsa; p=…", as the provider shows it; then add --selector SELECTOR'
    return Finding(domain, "DKIM", Verdict.MISSING, f"no key of {', '.join(found) or 'any selector'}", advice)


def check_dmarc(domain: str, texts: Sequence[str]) -> Finding:
    """RFC 7489. texts: TXT records at _dmarc of the domain, or of the nearest parent domain that has any."""
    records = [text for text in texts if re.match(r"v=DMARC1\s*(;|$)", text)]
    example = f'_dmarc.{domain} TXT "v=DMARC1; p=none; rua=mailto:dmarc@{domain}"'
    if not records:
        return Finding(domain, "DMARC", Verdict.MISSING, "no record", example)
    if len(records) > 1:
        return Finding(domain, "DMARC", Verdict.WRONG, f"{len(records)} records", "Keep one of them.")
    tags = {name: value.strip() for name, value in re.findall(r"(?<!\w)(\w++)\s*+=([^;]*+)", records[0])}
    if tags.get("p") not in ("none", "quarantine", "reject"):
        return Finding(domain, "DMARC", Verdict.WRONG, records[0], "Add p=none, p=quarantine or p=reject.")
    return Finding(domain, "DMARC", Verdict.OK, records[0])


def check_alignment(sender: str, signer: str) -> Finding:
    """Whether a signature of signer counts for mail from sender (DMARC alignment, relaxed; RFC 7489, 3.1)."""
    aligned = sender == signer or sender.endswith(f".{signer}") or signer.endswith(f".{sender}")
    if aligned:
        return Finding(sender, "From", Verdict.OK, f"mail is signed by {signer}")
    advice = f"Send from {signer}, its parent domain or a subdomain, or verify {sender} with the provider."
    return Finding(
        sender, "From", Verdict.WRONG, f"mail is signed by {signer}, which DMARC ignores for {sender}", advice
    )


def _key(text: str) -> tuple[str, bool] | None:
    """Public key of a DKIM record (empty: revoked), and whether it is RSA. None for other text."""
    tags = {name.strip(): value for name, _, value in (part.partition("=") for part in text.split(";"))}
    if "p" not in tags:
        return None
    return re.sub(r"\s", "", tags["p"]), tags.get("k", "rsa").strip() == "rsa"
