"""manage.py check_sending: SPF, DKIM and DMARC of the domains that mail is sent from."""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from mail.addresses import domain_records
from mail.addresses.domain_records import Verdict
from mail.management.commands import check_sending
from tests.support.mail.sending import provider
from tests.support.servers.dns import NameServer

DOMAIN = "mg.example.org"
KEY = f"k=rsa; p={'A' * 392}"
GOOD = {
    DOMAIN: ["v=spf1 include:mailgun.org ~all", "unrelated"],
    f"pic._domainkey.{DOMAIN}": [KEY],
    "_dmarc.example.org": ["v=DMARC1; p=quarantine; rua=mailto:dmarc@example.org"],
}

Texts = Mapping[str, Sequence[str]]


@pytest.fixture(autouse=True)
def _one_provider(settings: Any) -> None:
    settings.MAIL_PROVIDERS = [provider("http://127.0.0.1:1/v3")]


def check(texts: Texts, *arguments: str, silent: bool = False) -> tuple[list[list[str]], str]:
    """Run the command; returns the words of each printed line, and the message of its error."""
    said, error = StringIO(), ""
    with NameServer(texts, silent=silent) as server:
        try:
            call_command("check_sending", "--nameserver", server.address, *arguments, stdout=said)
        except CommandError as failed:
            error = str(failed)
    return [line.split() for line in said.getvalue().splitlines()], error


def verdicts(lines: list[list[str]]) -> dict[str, str]:
    return {line[1]: line[2] for line in lines if line[0] != "→"}


def test_a_domain_that_is_set_up_passes() -> None:
    lines, error = check(GOOD)
    assert verdicts(lines) == {"SPF": "ok", "DKIM": "ok", "DMARC": "ok", "From": "ok"}
    assert error == ""


def test_a_missing_record_is_reported_with_what_to_put_into_dns() -> None:
    lines, error = check({})
    assert verdicts(lines) == {"SPF": "missing", "DKIM": "missing", "DMARC": "missing", "From": "ok"}
    advice = [" ".join(line[1:]) for line in lines if line[0] == "→"]
    assert advice[0] == f'{DOMAIN} TXT "v=spf1 include:mailgun.org ~all"'
    assert advice[2] == f'_dmarc.{DOMAIN} TXT "v=DMARC1; p=none; rua=mailto:dmarc@{DOMAIN}"'
    assert error == "3 of 4 checks failed."


def test_a_selector_of_ones_own_is_looked_up() -> None:
    texts = {name: value for name, value in GOOD.items() if "_domainkey" not in name}
    texts[f"mine._domainkey.{DOMAIN}"] = [KEY]
    assert verdicts(check(texts)[0])["DKIM"] == "missing"
    assert verdicts(check(texts, "--selector", "mine")[0])["DKIM"] == "ok"


def test_a_name_server_that_does_not_answer_makes_results_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_sending, "QUERY_TIMEOUT", 0.2)
    lines, error = check(GOOD, silent=True)
    assert verdicts(lines) == {"SPF": "unknown", "DKIM": "unknown", "DMARC": "unknown", "From": "ok"}
    assert error


def test_a_sender_domain_that_the_provider_does_not_sign_for_is_wrong(settings: Any) -> None:
    settings.MAIL_FROM_DOMAINS = ["example.com", "news.mg.example.org"]
    lines, _ = check(GOOD | {"_dmarc.example.com": ["v=DMARC1; p=none"]})
    found = {line[0]: line[2] for line in lines if line[1:2] == ["From"]}
    assert found == {DOMAIN: "ok", "example.com": "wrong", "news.mg.example.org": "ok"}


@pytest.mark.parametrize("server", ["x", "127.0.0.1:dns", "::::"])
def test_an_invalid_name_server_is_an_error(server: str) -> None:
    with pytest.raises(CommandError, match="--nameserver"):
        call_command("check_sending", "--nameserver", server)


@pytest.mark.parametrize(
    ("texts", "verdict"),
    [
        (["v=spf1 include:mailgun.org ~all"], Verdict.OK),
        (["V=SPF1 +include:MAILGUN.org -all"], Verdict.OK),
        (["v=spf1 ~all"], Verdict.WRONG),
        (["v=spf1 include:mailgun.org +all"], Verdict.WRONG),
        (["v=spf1 include:mailgun.org all"], Verdict.WRONG),
        (["v=spf1 include:mailgun.org ~all", "v=spf1 -all"], Verdict.WRONG),
        (["v=spf10 include:mailgun.org ~all"], Verdict.MISSING),
        ([], Verdict.MISSING),
    ],
)
def test_spf_is_one_record_that_includes_the_provider(texts: list[str], verdict: Verdict) -> None:
    assert domain_records.check_spf(DOMAIN, texts, {"mailgun"}).verdict == verdict


@pytest.mark.parametrize(
    ("texts", "verdict"),
    [
        ([KEY], Verdict.OK),
        ([f"v=DKIM1; k=ed25519; p={'A' * 44}"], Verdict.OK),
        (["k=rsa; p="], Verdict.WRONG),
        (["k=rsa; p=AAAA"], Verdict.WRONG),
        (["v=spf1 ~all"], Verdict.MISSING),
        ([], Verdict.MISSING),
    ],
)
def test_dkim_is_a_key_that_is_long_enough(texts: list[str], verdict: Verdict) -> None:
    assert domain_records.check_dkim(DOMAIN, {"s1": texts}).verdict == verdict


@pytest.mark.parametrize(
    ("texts", "verdict"),
    [
        (["v=DMARC1; p=none"], Verdict.OK),
        (["v=DMARC1;p=reject;pct=50"], Verdict.OK),
        (["v=DMARC1; sp=none"], Verdict.WRONG),
        (["v=DMARC1; p=perhaps"], Verdict.WRONG),
        (["v=DMARC1; p=none", "v=DMARC1; p=none"], Verdict.WRONG),
        (["v=DMARC2; p=none"], Verdict.MISSING),
        ([], Verdict.MISSING),
    ],
)
def test_dmarc_is_one_record_with_a_policy(texts: list[str], verdict: Verdict) -> None:
    assert domain_records.check_dmarc(DOMAIN, texts).verdict == verdict
