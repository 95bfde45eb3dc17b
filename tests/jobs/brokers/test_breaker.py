"""The circuit breaker around a broker's calls: who may call the broker after a failure, and when."""

import pytest

from jobs.brokers import breaker
from jobs.brokers.breaker import OPEN_SECONDS, CircuitBreaker

MOMENT = 0.001


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test moves forward."""
    now = [1000.0]
    monkeypatch.setattr(breaker, "monotonic", lambda: now[0])
    monkeypatch.setattr(breaker, "JITTER", 1)
    return now


def fail() -> str:
    raise OSError("away")


def ask(broker: CircuitBreaker) -> str:
    return broker.call(lambda: "asked", "not asked")


def test_a_broker_that_answers_is_asked_each_time() -> None:
    broker = CircuitBreaker()
    assert [ask(broker) for _ in range(3)] == ["asked"] * 3


def test_after_a_failure_nobody_asks_for_a_while(clock: list[float]) -> None:
    broker = CircuitBreaker()
    assert broker.call(fail, "not asked") == "not asked"
    clock[0] += OPEN_SECONDS - MOMENT
    assert ask(broker) == "not asked"
    clock[0] += MOMENT
    assert ask(broker) == "asked"


def test_an_answer_closes_the_breaker(clock: list[float]) -> None:
    broker = CircuitBreaker()
    broker.call(fail, "")
    clock[0] += OPEN_SECONDS
    assert [ask(broker) for _ in range(3)] == ["asked"] * 3


def test_a_failed_try_restarts_the_open_time(clock: list[float]) -> None:
    broker = CircuitBreaker()
    for _ in range(2):
        broker.call(fail, "")
        clock[0] += OPEN_SECONDS
    clock[0] -= MOMENT
    assert ask(broker) == "not asked"


def test_while_one_caller_probes_the_broker_the_others_do_not_call_it(clock: list[float]) -> None:
    broker, others = CircuitBreaker(), list[str]()

    def fail_later() -> str:
        others.append(ask(broker))
        clock[0] += OPEN_SECONDS - MOMENT
        others.append(ask(broker))
        raise OSError("still away")

    broker.call(fail, "")
    clock[0] += OPEN_SECONDS
    broker.call(fail_later, "")
    assert others == ["not asked"] * 2


def test_a_fault_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def fault() -> str:
        raise ValueError("a bug")

    CircuitBreaker().call(fault, "")
    [record] = caplog.records
    assert record.msg | {"event": "broker_call_failed", "retry_in": OPEN_SECONDS, "exc_info": True} == record.msg


def test_an_outage_of_a_broker_is_one_line_when_it_begins_and_one_when_it_ends(
    caplog: pytest.LogCaptureFixture, clock: list[float]
) -> None:
    broker = CircuitBreaker()
    for _ in range(5):
        broker.call(fail, "")
        clock[0] += OPEN_SECONDS
    ask(broker)
    began, ended = (record.msg for record in caplog.records)
    assert isinstance(began, dict)
    assert isinstance(ended, dict)
    assert (began["event"], began["dependency"], began["cause"]) == ("outage_began", "broker", "OSError: away")
    assert (ended["event"], ended["errors"]) == ("outage_ended", 5)
    assert "exc_info" not in began
