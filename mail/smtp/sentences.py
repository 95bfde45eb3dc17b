"""Known sentences of receiving servers, where the code alone does not tell a missing mailbox from a block. Pure.

Taken from bounces of the large receivers and of common servers. mail.smtp.replies looks here first.
"""

import re
from dataclasses import dataclass

from mail.failure import FailureClass

BLOCKED, FULL, UNKNOWN = FailureClass.BLOCKED, FailureClass.MAILBOX_FULL, FailureClass.HARD_BOUNCE
Compiled = tuple[FailureClass, re.Pattern[str]]
SEARCHED_CHARACTERS = 2000
"""Of a reply: a longer one is cut off before it is searched."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """pattern: a regular expression, searched for anywhere, ignoring case. server: which server writes it."""

    kind: FailureClass
    server: str
    pattern: str


ABOUT_THE_SENDER = (
    Sentence(BLOCKED, "Postfix", r"sender address rejected"),
    Sentence(BLOCKED, "Exim", r"sender verify failed"),
    Sentence(BLOCKED, "Microsoft", r"bad (outbound )?sender"),
    Sentence(BLOCKED, "many", r"(too many|excessive|number of) (unknown|invalid) (user|recipient|address)"),
    Sentence(BLOCKED, "many", r"\bsender (address |domain |is |was )*(unknown|invalid|not found|does not exist)"),
)
"""They read like a missing mailbox, and come with its codes, but the server refuses our sender address."""

SENTENCES = (
    # The mailbox is full.
    Sentence(FULL, "Gmail", r"over ?quota|exceeded (its|their|the) (storage )?quota"),
    Sentence(FULL, "Gmail", r"inbox is out of storage"),
    Sentence(FULL, "Yahoo, GMX", r"mailbox (is |has been )?full|mailbox for .{1,200} is full"),
    Sentence(FULL, "Microsoft", r"quota ?exceeded"),
    # There is no such mailbox.
    Sentence(UNKNOWN, "Gmail", r"account that you tried to reach (does not exist|is disabled|is inactive)"),
    Sentence(UNKNOWN, "Yahoo, AOL", r"this user doesn.?t have an? .{1,80} account"),
    Sentence(UNKNOWN, "Yahoo, AOL", r"requested mail action aborted, mailbox not found"),
    Sentence(UNKNOWN, "Yahoo, AOL", r"not a valid recipient"),
    Sentence(UNKNOWN, "Yahoo, AOL", r"this mailbox is disabled"),
    Sentence(UNKNOWN, "Microsoft", r"requested action not taken: mailbox unavailable"),
    Sentence(UNKNOWN, "Microsoft", r"\b5\.4\.1\b.{0,300}recipient address rejected: access denied"),
    Sentence(UNKNOWN, "Microsoft", r"resolver\.adr\.\w{0,40}recip\w{0,40}not ?found|recipientnotfound"),
    Sentence(UNKNOWN, "iCloud", r"unknown or illegal alias"),
    Sentence(UNKNOWN, "GMX, WEB.DE", r"requested mail action not taken: mailbox unavailable"),
    Sentence(UNKNOWN, "Mail.ru", r"invalid mailbox\. local mailbox"),
    Sentence(UNKNOWN, "Postfix", r"recipient address rejected: (undeliverable address|user unknown)"),
    Sentence(UNKNOWN, "Exim", r"unroute?able address"),
    Sentence(UNKNOWN, "qmail", r"no mailbox here by that name"),
    Sentence(UNKNOWN, "many", r"(user|recipient|mailbox|(?<!ip )address|account)( is| was)? (unknown|not found)"),
    Sentence(UNKNOWN, "many", r"(unknown|no such|invalid)( local)? (user|recipient|mailbox|account)"),
    Sentence(UNKNOWN, "many", r"(user|recipient|mailbox|account|address) does(n.t| not) exist"),
    # The server refuses this content, or mail from us.
    Sentence(BLOCKED, "Gmail", r"likely (unsolicited|suspicious)|\bunauthenticated\b"),
    Sentence(BLOCKED, "Yahoo, AOL", r"not accepted for policy reasons|\[(tss|ipts)\d+\]"),
    Sentence(BLOCKED, "Microsoft", r"part of their network is on our block list|\bS3(140|150)\b|banned sending ip"),
    Sentence(BLOCKED, "iCloud", r"rejected due to local policy|\[(hm|cs)\d+\]"),
    Sentence(BLOCKED, "GMX, WEB.DE", r"transaction failed.{0,200}(bad dns|reject due to policy|ip address is)"),
    Sentence(BLOCKED, "many", r"\b(block|black|deny) ?list(ed)?\b|\bspamhaus\b|\bbarracuda\b|\bspamcop\b|\brbl\b"),
    Sentence(BLOCKED, "many", r"\bspam\b|\bunsolicited\b|\bbulk e-?mail\b|\bpoor reputation\b|\breputation\b"),
    Sentence(BLOCKED, "many", r"\bdmarc\b|\bspf\b|\bdkim\b|relay(ing)? (access )?denied|administrative prohibition"),
)
"""The first match decides."""


def blames_sender(reply: str) -> bool:
    """True if the reply is about the sender, whatever its codes say."""
    return _first_match(_ABOUT_THE_SENDER, reply) is not None


def failure_class(reply: str) -> FailureClass | None:
    """The class of the first known sentence in the reply; None if it contains none."""
    return _first_match(_SENTENCES, reply)


def _first_match(patterns: list[Compiled], reply: str) -> FailureClass | None:
    text = " ".join(reply[:SEARCHED_CHARACTERS].split())
    return next((kind for kind, pattern in patterns if pattern.search(text)), None)


def _compiled(sentences: tuple[Sentence, ...]) -> list[Compiled]:
    return [(sentence.kind, re.compile(sentence.pattern, re.IGNORECASE)) for sentence in sentences]


_ABOUT_THE_SENDER, _SENTENCES = _compiled(ABOUT_THE_SENDER), _compiled(SENTENCES)
