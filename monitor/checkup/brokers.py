"""Broker and cache."""

from collections.abc import Iterator

from monitor.checkup.problem import Level, Problem
from monitor.dashboard.facts import Facts

REMEDIES = {
    "broker": "Jobs still run: workers poll the database. Check BROKER_URL and the server.",
    "cache": "Rate limits and read-your-own-writes are off meanwhile. Check CACHE_URL and the server.",
}


def service_problems(facts: Facts) -> Iterator[Problem]:
    for service in facts.services:
        if service.problem:
            what = f"The {service.name} ({service.what}) does not answer: {service.problem}"
            yield Problem(Level.WARNING, what, REMEDIES[service.name], "service-down")
