"""What is learnt of answers' header fields, while clients choose from how many origins they ask."""

import asyncio
from typing import Any

from project.gathering import heads
from project.gathering.heads import Heads, fields_for


def learn(known: Heads[str], origin: bytes, *fields: tuple[bytes, bytes]) -> None:
    async def send(message: Any) -> None:
        pass

    learning = known.learn_from(send, "call", (origin,), [200])
    asyncio.run(learning({"type": "http.response.start", "status": 200, "headers": list(fields)}))  # type: ignore[arg-type]


def test_the_oldest_header_fields_are_forgotten_beyond_the_limit() -> None:
    known: Heads[str] = Heads()
    for number in range(heads.LIMIT + 10):
        learn(known, b"host-%d" % number)
    assert known.of("call", (b"host-%d" % (heads.LIMIT + 9),))
    assert not known.of("call", (b"host-0",))
    assert len(known._learnt) == heads.LIMIT


def test_header_fields_that_a_request_has_found_outlive_their_removal() -> None:
    known: Heads[str] = Heads()
    learn(known, b"mine", (b"Content-Type", b"text/plain"), (b"X", b"y"))
    learnt = known.of("call", (b"mine",))
    for number in range(heads.LIMIT):
        learn(known, b"host-%d" % number)
    assert fields_for(learnt, 200, 200) == [(b"content-type", b"text/plain"), (b"x", b"y")]
    assert fields_for(learnt, 304, 200) == [(b"x", b"y")]


def test_cookies_are_never_learnt() -> None:
    known: Heads[str] = Heads()
    learn(known, b"mine", (b"Set-Cookie", b"a=b"))
    assert not known.of("call", (b"mine",))
