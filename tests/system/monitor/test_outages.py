"""The dashboard in Chromium, without reloading, and doctor: a cluster that is killed, a mail provider that is down.

A replica that lags and a held snapshot are in tests/system/replicas/test_replicas.py.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import chromium, open_tab
from tests.support.cluster_stack import ClusterStack, make_cluster_stack
from tests.support.servers.simulator import Simulator
from tests.support.timeouts import PATIENCE, lost_time

PASSWORD = "correct horse battery staple"
SHOWN_WITHIN = 5
"""Seconds."""

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("outages")]


@pytest.fixture(scope="module")
def mailgun() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, mailgun: Simulator) -> Iterator[ClusterStack]:
    folder: Path = tmp_path_factory.mktemp("outages")
    env = mailgun.env | {"MAIL_PROBE_AFTER": "0.5", "MAIL_CHECK_DNS": "0"}
    with make_cluster_stack("postgresql", folder, workers=1, io_workers=1, env=env) as running:
        running.add_user("operator", PASSWORD, staff=True)
        yield running


@pytest.fixture(scope="module")
def dashboard(stack: ClusterStack) -> Iterator[Page]:
    with chromium() as browser, open_tab(browser, stack.url) as tab:
        page = tab.open("/admin/")
        page.get_by_label("Username").fill("operator")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_text("Running now")).to_be_visible()
        yield page


def test_a_provider_that_is_down_is_shown_within_seconds_and_doctor_says_it(
    dashboard: Page, stack: ClusterStack, mailgun: Simulator
) -> None:
    is_open = dashboard.get_by_role("row", name="mail provider mailgun").get_by_text("breaker open")
    mailgun.process.kill()
    with lost_time() as lost:
        began = time.monotonic()
        for _ in range(6):
            post_mail(stack)
        expect(is_open).to_be_visible(timeout=PATIENCE * 1000)
        assert time.monotonic() - began - lost() < SHOWN_WITHIN
    assert "The circuit breaker of the mail provider mailgun is open" in stack.doctor()
    mailgun.start()
    post_mail(stack)
    expect(is_open).to_have_count(0, timeout=PATIENCE * 1000)
    assert "circuit breaker" not in stack.doctor()


def test_a_killed_cluster_is_shown_within_seconds_and_doctor_says_it(dashboard: Page, stack: ClusterStack) -> None:
    clusters = dashboard.locator(".lw-cluster")
    stack.start_cluster()
    expect(clusters.get_by_text("up", exact=True)).to_have_count(2, timeout=PATIENCE * 1000)
    with lost_time() as lost:
        began = time.monotonic()
        stack.clusters[0].kill()
        expect(clusters.get_by_text("lost", exact=True)).to_be_visible(timeout=PATIENCE * 1000)
        assert time.monotonic() - began - lost() < SHOWN_WITHIN
    expect(clusters.get_by_text("up", exact=True)).to_have_count(1)
    assert "has not reported for" in stack.doctor()
    assert "No cluster is running" not in stack.doctor()


def post_mail(stack: ClusterStack) -> None:
    stack.client().post("mail/messages/", {"to": "ada@example.org", "subject": "Hi", "text": "There"}, expect=202)
