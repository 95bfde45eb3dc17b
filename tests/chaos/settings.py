"""The settings of a cluster in chaos: those of the kinds of trouble, and a clock that may be wrong."""

from tests.chaos import clock
from tests.support.misbehaving_kinds.settings import *  # noqa: F403

clock.shift()
