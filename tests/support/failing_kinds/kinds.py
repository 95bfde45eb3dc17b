"""Kinds of job whose handlers end as no handler should."""

from collections.abc import Callable
from typing import NoReturn

from rest_framework import serializers

from jobs.registry import job
from jobs.retry import exponential
from jobs.run import Run
from rest.requests.strict import StrictSerializer


class Odd(BaseException):
    """A BaseException: `except Exception` does not catch it."""


def _recurse() -> NoReturn:
    _recurse()


def _raise(error: BaseException) -> NoReturn:
    raise error


ENDINGS: dict[str, Callable[[], object]] = {
    "an exception": lambda: _raise(ValueError("it broke")),
    "SystemExit": lambda: _raise(SystemExit(3)),
    "KeyboardInterrupt": lambda: _raise(KeyboardInterrupt()),
    "GeneratorExit": lambda: _raise(GeneratorExit()),
    "a BaseException": lambda: _raise(Odd("odd")),
    "a group": lambda: _raise(BaseExceptionGroup("many", [ValueError("one"), SystemExit(2)])),
    "too deep a recursion": _recurse,
    "no JSON": lambda: object(),
}


class EndParams(StrictSerializer):
    ending = serializers.ChoiceField(sorted(ENDINGS))


@job("fail.end", params=EndParams, retry=exponential(attempts=2, base=0))
def end(run: Run, *, ending: str) -> object:
    """End in one of many ways, none of them good."""
    return ENDINGS[ending]()
