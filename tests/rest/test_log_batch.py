"""Many lines of one event are one event for structlog's processors."""

import structlog
from structlog.testing import capture_logs

from rest.log_batch import info_each

log = structlog.get_logger(__name__)


def test_lines_pass_the_processors_together() -> None:
    with capture_logs() as logs:
        info_each(log, "told", [{"number": 1}, {"number": 2}])
    assert logs == [{"event": "told", "log_level": "info", "each": [{"number": 1}, {"number": 2}]}]


def test_without_a_line_nothing_is_logged() -> None:
    with capture_logs() as logs:
        info_each(log, "told", [])
    assert logs == []
