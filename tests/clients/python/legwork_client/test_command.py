"""The command: how its arguments are read. What it does with a site is in the package's README, which a test runs."""

import pytest

from legwork_client.command import main
from legwork_client.progress_bar import bar


def test_a_wrong_call_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["submit", "demo.countdown", "seconds"])
    assert ended.value.code == 2
    assert "NAME=VALUE" in capsys.readouterr().err


def test_a_worker_needs_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["worker", "demo.remote"]) == 2


def test_the_bar_shows_how_far_a_job_is() -> None:
    job = {"status": "running", "progress": {"percent": 50.0, "message": "10 s left"}}
    assert bar(job) == f"running   [{'#' * 15}{'.' * 15}]  50 % 10 s left"
