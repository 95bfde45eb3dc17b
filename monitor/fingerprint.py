"""What makes two failures the same: kind, exception, and the place where it was raised."""

import hashlib
import re

FRAME = re.compile(r'^[ \t]*+File "(?P<path>[^"]+)", line \d+, in (?P<function>.+)$', re.M)
NOT_OURS = ("site-packages/", "/lib/python", "<frozen ", "<string>")


def place_of(traceback: str) -> str:
    """The innermost frame of our own code: its file and function, without a line number, which any edit changes."""
    frames = [(match["path"], match["function"].strip()) for match in FRAME.finditer(traceback)]
    ours = [frame for frame in frames if not any(part in frame[0] for part in NOT_OURS)]
    chosen = (ours or frames)[-1:]
    if not chosen:
        return ""
    path, function = chosen[0]
    return f"{'/'.join(path.split('/')[-3:])} in {function}"[:300]


def fingerprint(kind: str, error_type: str, place: str) -> str:
    return hashlib.sha256(f"{kind}\0{error_type}\0{place}".encode()).hexdigest()[:16]
