"""The settings of a cluster in a chaos run: those of tests/support/misbehaving_kinds, and a clock that may be wrong."""

from tests.chaos import clock
from tests.support.misbehaving_kinds.settings import *  # noqa: F403

clock.shift()
