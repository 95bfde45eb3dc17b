"""A name server on a free port that knows the TXT records it was given, and nothing else."""

import socket
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


class NameServer:
    """Usable in `with`. silent: it takes questions and answers none."""

    def __init__(self, texts: Mapping[str, Sequence[str]], *, silent: bool = False) -> None:
        self.texts = texts
        self.silent = silent
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.silent = True
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(60)
        self._socket.close()

    def _serve(self) -> None:
        while packet := self._socket.recvfrom(4096):
            body, sender = packet
            if not body:
                return
            if not self.silent:
                self._socket.sendto(self._answer(dns.message.from_wire(body)), sender)

    def _answer(self, asked: dns.message.Message) -> bytes:
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.RA
        name = asked.question[0].name
        texts = self.texts.get(name.to_text(omit_final_dot=True).lower())
        if texts is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            answer.answer = [dns.rrset.from_text(name, 60, "IN", "TXT", *(_quoted(text) for text in texts))]
        return answer.to_wire()


def _quoted(text: str) -> str:
    """In strings of 255 characters at most (RFC 1035, 3.3)."""
    return " ".join(f'"{text[start : start + 255]}"' for start in range(0, len(text), 255))
