"""requirements.txt can be installed with the oldest Python that is supported, whichever one compiled it."""

import re
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from demo.stack import ROOT

OLDEST = {"python_version": "3.11", "python_full_version": "3.11.0", "extra": ""}
LOCKED = re.findall(r"^([\w.-]+)(?:\[.*\])?==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", LOCKED)
def test_the_oldest_python_needs_nothing_that_is_not_locked(name: str) -> None:
    """pip refuses the whole list for one package that an older Python needs besides: Debian 12 has Python 3.11.2."""
    needed = map(Requirement, requires(name) or ())
    names = {canonicalize_name(each.name) for each in needed if not each.marker or each.marker.evaluate(OLDEST)}
    assert names <= {canonicalize_name(each) for each in LOCKED}
