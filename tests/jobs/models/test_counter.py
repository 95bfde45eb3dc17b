"""Counters that several processes add to."""

import threading

import pytest
from django.db import connections

from jobs.models import Counter


@pytest.mark.django_db
def test_numbers_are_added_to_those_of_others() -> None:
    Counter.objects.add("seen", {("a", "x"): 2, ("b", "x"): 1})
    Counter.objects.add("seen", {("a", "x"): 3})
    Counter.objects.add("other", {("a", "x"): 7})
    assert Counter.objects.totals("seen") == {("a", "x"): 5, ("b", "x"): 1}


@pytest.mark.django_db(transaction=True)
def test_no_addition_is_lost_when_several_add_at_once() -> None:
    together = threading.Barrier(4)

    def add() -> None:
        together.wait()
        for _ in range(20):
            Counter.objects.add("seen", {("a", "x"): 1, ("b", "x"): 1})
        connections.close_all()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter.objects.totals("seen") == {("a", "x"): 80, ("b", "x"): 80}
