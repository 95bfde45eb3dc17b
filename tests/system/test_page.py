"""The page at /, in a real Chromium."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import Tab, chromium, open_tab
from tests.support.stack import Stack
from tests.support.timeouts import PATIENCE

USER, PASSWORD = "grace", "correct horse battery staple"
MAKE_USER = f"""
from django.contrib.auth.models import User
user, _ = User.objects.get_or_create(username={USER!r})
user.set_password({PASSWORD!r})
user.save()
"""
expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as program:
        yield program


@pytest.fixture
def tab(browser: Browser, sqlite_stack: Stack) -> Iterator[Tab]:
    sqlite_stack.run_code(MAKE_USER)
    with open_tab(browser, sqlite_stack.url) as opened:
        yield opened


@pytest.fixture
def page(tab: Tab) -> Page:
    """Logged in; what the browser complains about fails the test."""
    return log_in(tab)


def log_in(tab: Tab) -> Page:
    page = tab.open()
    page.get_by_label("User name").fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    return page


def post_countdown(page: Page, seconds: int, **params: str) -> Locator:
    """The row of a new job."""
    rows = page.locator("#job-list > li")
    expect(page.get_by_label("Kind")).not_to_have_value("")
    page.get_by_label("Kind").select_option("demo.countdown")
    page.get_by_label("seconds").fill(str(seconds))
    for name, value in params.items():
        page.locator(f"#param-{name}").fill(value)
    with page.expect_response(lambda answer: answer.request.method == "POST" and "/jobs/" in answer.url) as answer:
        page.get_by_role("button", name="Post job").click()
    row = page.locator(f'#job-list > li[data-id="{answer.value.json()["id"]}"]')
    expect(row).to_be_visible()
    expect(rows.first).to_have_attribute("data-id", answer.value.json()["id"])
    return row


def test_a_wrong_password_is_told_of_and_a_right_one_logs_in_and_out(tab: Tab) -> None:
    page = tab.open()
    page.get_by_label("User name").fill(USER)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert").filter(has_text="Wrong user name or password.")).to_be_visible()

    log_in(tab)
    expect(page.get_by_role("heading", name="Your jobs")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    assert tab.fetch("/api/v1/jobs/")["status"] == 401


def test_a_job_shows_its_progress_until_it_has_succeeded(tab: Tab) -> None:
    row = post_countdown(log_in(tab), 3)
    expect(row.get_by_role("progressbar")).to_be_visible()
    expect(row.locator(".message")).to_have_text(re.compile(r"\d s left"))
    expect(row.locator(".status")).to_have_text("Succeeded")
    expect(row.locator(".message")).to_contain_text("counted 3")
    assert tab.complaints == []


def test_a_running_job_is_cancelled_and_retried(tab: Tab) -> None:
    row = post_countdown(log_in(tab), 600)
    expect(row.locator(".status")).to_have_text("Running")
    row.get_by_role("button", name="Cancel").click()
    expect(row.locator(".status")).to_have_text("Cancelled")

    row.get_by_role("button", name="Retry").click()
    expect(row.locator(".status")).to_have_text("Running")
    row.get_by_role("button", name="Cancel").click()
    expect(row.locator(".status")).to_have_text("Cancelled")
    assert tab.complaints == []
