"""A receiving server's SMTP reply, and the failure class that its codes and text mean. Pure.

Codes: RFC 5321. Enhanced codes: RFC 3463. Known sentences: mail.smtp.sentences.
"""

import re
from dataclasses import dataclass

from mail.failure import FailureClass
from mail.smtp import sentences

SMTP_CODE = re.compile(r"\D{0,40}?(?<![\w.])([245][0-5][0-9])(?=[\s-])")
ENHANCED = re.compile(r"(?<![\w.])([245])\.(\d{1,3})\.(\d{1,3})(?!\.?\w)")

BY_ENHANCED_CODE = {
    (1, 7): FailureClass.BLOCKED,  # our sender address is refused: "bad sender's mailbox", "bad sender's system"
    (1, 8): FailureClass.BLOCKED,
    (2, 1): FailureClass.HARD_BOUNCE,  # "mailbox disabled"
    (2, 2): FailureClass.MAILBOX_FULL,
    (2, 3): FailureClass.INVALID,  # larger than the mailbox or the system accepts
    (3, 4): FailureClass.INVALID,
}
"""By (subject, detail)."""

BY_ENHANCED_SUBJECT = {1: FailureClass.HARD_BOUNCE, 7: FailureClass.BLOCKED}

BY_SMTP_CODE = {
    550: FailureClass.HARD_BOUNCE,
    551: FailureClass.HARD_BOUNCE,
    552: FailureClass.MAILBOX_FULL,
    553: FailureClass.HARD_BOUNCE,
}


@dataclass(frozen=True, slots=True)
class ServerReply:
    """What a recipient's server answered.

    code: three digits of RFC 5321, or a code of Mailgun's own; 0 if unknown. enhanced: (class, subject, detail) of
    RFC 3463, or None. text: all of it.
    """

    code: int = 0
    enhanced: tuple[int, int, int] | None = None
    text: str = ""

    @classmethod
    def read(cls, code: object, *texts: object) -> "ServerReply":
        """From a provider's code, which may be an enhanced one in legacy events, and texts that may contain one."""
        number = int(str(code)) if re.fullmatch(r"[0-9]{3}", str(code)) else 0
        said = [str(text) for text in (code, *texts) if isinstance(text, str)]
        found = next((match for match in map(ENHANCED.search, said) if match), None)
        enhanced = (int(found[1]), int(found[2]), int(found[3])) if found else None
        return cls(number or _leading_code(said), enhanced, " ".join(said))

    @property
    def temporary(self) -> bool:
        """Class 4 in either code: the address may accept mail later, whatever the text says."""
        return 400 <= self.code < 500 or (self.enhanced is not None and self.enhanced[0] == 4)

    @property
    def permanent(self) -> bool:
        return not self.temporary and (self.enhanced[0] == 5 if self.enhanced else self.code >= 500)

    def failure_class(self) -> FailureClass | None:
        """The class of a final failure; None if the reply alone does not tell.

        A class 4 reply is never a hard bounce. In a class 5 reply a known sentence outweighs the codes, which servers
        use loosely; but an enhanced code of the tables above outweighs a sentence about a block.
        """
        by_text = sentences.failure_class(self.text)
        if self.temporary:
            full = FailureClass.MAILBOX_FULL
            return full if full in (by_text, self._by_enhanced_code()) else FailureClass.SOFT_BOUNCE
        if sentences.blames_sender(self.text):
            return FailureClass.BLOCKED
        if by_text and by_text != FailureClass.BLOCKED:
            return by_text
        if self.enhanced:
            return self._by_enhanced_code() or by_text
        return by_text or BY_SMTP_CODE.get(self.code)

    def _by_enhanced_code(self) -> FailureClass | None:
        _, subject, detail = self.enhanced or (0, 0, 0)
        if kind := BY_ENHANCED_CODE.get((subject, detail)):
            return kind
        return BY_ENHANCED_SUBJECT.get(subject) if self.permanent else None


def _leading_code(texts: list[str]) -> int:
    """The three digits that begin a reply, after any prefix of the provider's; 0 for none."""
    found = next((match for match in map(SMTP_CODE.match, texts) if match), None)
    return int(found[1]) if found else 0
