"""Rendered parts as a message can have them: a subject on one line, and a body."""

from mail.addresses.parsing import has_control_characters
from mail.rendering.budget import BadTemplate

MAX_LINE_LENGTH = 998
"""Of a header field, in characters (RFC 5322, 2.1.1)."""


def subject_line(subject: str) -> str:
    """A rendered subject, stripped, as a header field can hold it. Raises BadTemplate."""
    subject = subject.strip()
    if has_control_characters(subject):
        raise BadTemplate("The result has line breaks or other control characters.")
    if not 0 < len(subject) <= MAX_LINE_LENGTH:
        raise BadTemplate(f"The result has {len(subject)} characters; 1 to {MAX_LINE_LENGTH} are allowed.")
    return subject


def require_body(parts: dict[str, str]) -> dict[str, str]:
    """These rendered parts, of which at least one is a body: providers refuse mail without. Raises BadTemplate."""
    if not (parts["text"].strip() or parts["html"].strip()):
        raise BadTemplate("The result has neither text nor HTML.")
    return parts
