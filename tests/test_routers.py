"""The database router: where reads and writes go while there is one database."""

import pytest
from django.contrib.auth.models import User
from django.db import router

from jobs.models import Job
from routers import PrimaryReplicaRouter


@pytest.mark.parametrize("model", [Job, User])
def test_reads_and_writes_go_to_the_primary(model: type) -> None:
    assert (router.db_for_read(model), router.db_for_write(model)) == ("default", "default")


def test_an_instance_is_written_to_the_primary_wherever_it_was_read() -> None:
    job = Job(kind="demo.countdown")
    job._state.db = "replica"
    assert router.db_for_write(Job, instance=job) == "default"


def test_only_the_primary_is_migrated() -> None:
    assert PrimaryReplicaRouter().allow_migrate("default", "jobs")
    assert not PrimaryReplicaRouter().allow_migrate("replica", "jobs")
