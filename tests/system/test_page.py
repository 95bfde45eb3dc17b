"""The page at /, in a real Chromium."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.support.browser import SCREENSHOTS, Tab, chromium, findings, open_tab
from tests.support.servers.web import make_server
from tests.support.stack import Stack
from tests.support.timeouts import PATIENCE

USER, PASSWORD = "grace", "correct horse battery staple"
MAKE_USER = f"""
from django.contrib.auth.models import User
user, _ = User.objects.get_or_create(username={USER!r})
user.set_password({PASSWORD!r})
user.save()
"""
PLAN_JOBS = f"""
from datetime import UTC, datetime
from django.contrib.auth.models import User
from jobs.submit import submit_many
options = {{"user": User.objects.get(username={USER!r}), "run_at": datetime(2100, 1, 1, tzinfo=UTC)}}
submit_many("demo.countdown", [{{"seconds": 0}}] * 10, **options)
"""
FORGET_PLANNED_JOBS = "from jobs.models import Job; Job.objects.filter(status='scheduled', run_at__year=2100).delete()"
SUPPRESS = """
from mail.addresses.normalize import address_digest
from mail.models import Suppression
facts = {"digest": address_digest("left@example.org"), "reason": "unsubscribe", "scope": "all", "source": "test"}
Suppression.objects.get_or_create(facts, **facts)
"""
END_SESSIONS = "from project.models import Session; Session.objects.all().delete()"
PHONE = {"width": 390, "height": 844}
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


def log_in(tab: Tab) -> Page:
    page = tab.open()
    enter_credentials(page)
    return page


def enter_credentials(page: Page) -> None:
    page.get_by_label("User name").fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def fill_in_countdown(page: Page, seconds: int) -> None:
    page.get_by_role("heading", name="Your jobs").wait_for()
    expect(page.get_by_label("Kind")).not_to_have_value("")
    page.get_by_label("Kind").select_option("demo.countdown")
    page.get_by_label("seconds").fill(str(seconds))


def post_countdown(page: Page, seconds: int, **params: str) -> Locator:
    """The row of a new job."""
    rows = page.locator("#job-list > li")
    fill_in_countdown(page, seconds)
    for name, value in params.items():
        page.locator(f"#param-{name}").fill(value)
    with page.expect_response(lambda answer: answer.request.method == "POST" and "/jobs/" in answer.url) as answer:
        page.get_by_role("button", name="Post job").click()
    row = page.locator(f'#job-list > li[data-id="{answer.value.json()["id"]}"]')
    expect(row).to_be_visible()
    expect(rows.first).to_have_attribute("data-id", answer.value.json()["id"])
    return row


def test_a_wrong_password_is_reported_and_a_right_one_logs_in_and_out(tab: Tab) -> None:
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


def test_after_the_login_a_phone_shows_the_top_of_a_long_page(browser: Browser, sqlite_stack: Stack) -> None:
    sqlite_stack.run_code(MAKE_USER)
    sqlite_stack.run_code(PLAN_JOBS)
    try:
        with open_tab(browser, sqlite_stack.url, viewport=PHONE) as tab:
            page = log_in(tab)
            expect(page.locator("#main")).to_be_focused()
            expect(page.get_by_role("button", name="Log out")).to_be_in_viewport()
    finally:
        sqlite_stack.run_code(FORGET_PLANNED_JOBS)


def test_a_job_shows_its_progress_until_it_has_succeeded(tab: Tab) -> None:
    row = post_countdown(log_in(tab), 3)
    expect(row.get_by_role("progressbar")).to_be_visible()
    expect(row.locator(".message")).to_have_text(re.compile(r"\d s left"))
    expect(row.locator(".status")).to_have_text("Succeeded")
    expect(row.locator(".message")).to_contain_text("counted: 3")
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


def test_a_file_that_a_job_has_produced_is_downloaded(tab: Tab, tmp_path: Path) -> None:
    page = log_in(tab)
    page.get_by_label("Kind").select_option("report.activity")
    page.locator("#param-days").fill("2")
    page.get_by_role("button", name="Post job").click()
    row = page.locator("#job-list > li").filter(has_text="report.activity").first
    with page.expect_download() as download:
        row.get_by_role("link", name=re.compile(r"Download activity-.*\.csv")).click()
    download.value.save_as(tmp_path / "report.csv")
    assert (tmp_path / "report.csv").read_text().startswith("day,jobs_created")
    assert tab.complaints == []


def test_a_refused_field_shows_the_error_of_the_server(tab: Tab) -> None:
    page = log_in(tab)
    page.get_by_label("Kind").select_option("report.activity")
    page.locator("#param-first_day").fill("2026-01-01")
    page.get_by_role("button", name="Post job").click()
    expect(page.locator("#job-form .problem")).to_contain_text("Give either days, or first_day and last_day.")

    page.get_by_label("Kind").select_option("http.request")
    page.locator("#param-url").fill("https://example.org/")
    page.locator("#param-json").fill("{oops")
    page.get_by_role("button", name="Post job").click()
    expect(page.locator("#job-form .problem")).to_contain_text("json is not JSON")

    page.get_by_role("link", name="Mail").click()
    page.get_by_label("To", exact=True).fill("nobody")
    page.get_by_label("Subject").fill("Hi")
    page.get_by_label("Text").fill("Dear all")
    page.get_by_role("button", name="Send mail").click()
    expect(page.get_by_label("To", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("To", exact=True)).to_be_focused()
    expect(page.locator("#mail-to-error")).not_to_be_empty()


def test_a_session_that_ends_leads_back_to_the_login_and_what_was_typed_stays(tab: Tab, sqlite_stack: Stack) -> None:
    page = log_in(tab)
    fill_in_countdown(page, 7)
    page.get_by_role("link", name="Mail").click()
    page.get_by_label("Subject", exact=True).fill("Half written")
    page.get_by_role("link", name="Jobs").click()

    sqlite_stack.run_code(END_SESSIONS)
    page.get_by_role("button", name="Post job").click()
    expect(page.get_by_text("Your session has ended. Log in again.")).to_be_visible()
    expect(page.get_by_label("User name")).to_be_focused()
    enter_credentials(page)
    expect(page.locator("#param-seconds")).to_have_value("7")
    expect(page.get_by_label("Subject", exact=True)).to_have_value("Half written")
    page.get_by_role("button", name="Post job").click()
    expect(page.locator("#job-list > li").first.locator(".row-summary")).to_have_text("seconds: 7")
    assert only_refusals(tab.complaints)

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    expect(page.get_by_label("Subject", exact=True)).to_have_value("")


def test_a_429_shows_the_time_to_wait_and_the_list_is_requested_again(tab: Tab) -> None:
    page = tab.open()
    refuse(page, "GET", 429, "rate_limited", retry_after=1)
    enter_credentials(page)
    said = "Too many requests. Try again in 1 s. This page tries again by itself."
    expect(page.locator("#job-list-problem")).to_have_text(said)
    page.unroute_all()
    expect(page.locator("#job-list-problem")).to_be_hidden()

    fill_in_countdown(page, 0)
    refuse(page, "POST", 429, "rate_limited", retry_after=30)
    page.get_by_role("button", name="Post job").click()
    expect(page.locator("#job-form .problem")).to_have_text("Too many requests. Try again in 30 s.")
    expect(page.locator("#param-seconds")).to_have_value("0")
    assert only_refusals(tab.complaints)


def test_a_post_that_meets_an_outage_is_sent_again_and_stored_once(tab: Tab) -> None:
    page = log_in(tab)
    fill_in_countdown(page, 0)
    refused = refuse(page, "POST", 503, "database_unavailable", retry_after=0, times=2)
    with page.expect_response(lambda answer: answer.request.method == "POST" and answer.status == 202) as accepted:
        page.get_by_role("button", name="Post job").click()
    assert len(refused) == 2
    assert {*refused} == {accepted.value.request.headers["idempotency-key"]}
    expect(page.locator(f'#job-list > li[data-id="{accepted.value.json()["id"]}"]')).to_be_visible()

    refuse(page, "POST", 503, "database_unavailable", retry_after=0)
    page.get_by_role("button", name="Post job").click()
    expect(page.locator("#job-form .problem")).to_have_text("Refused by the test.")
    assert only_refusals(tab.complaints)


def refuse(page: Page, method: str, status: int, code: str, *, retry_after: int, times: int = 1000) -> list[str]:
    """Answer the page's next requests to the list of jobs like this; returns a list that collects their keys."""
    keys: list[str] = []

    def answer(route: Route) -> None:
        if route.request.method != method or len(keys) == times:
            return route.fallback()
        keys.append(route.request.headers.get("idempotency-key", ""))
        problem = {"status": status, "detail": "Refused by the test.", "code": code}
        headers = {"Content-Type": "application/problem+json", "Retry-After": str(retry_after)}
        return route.fulfill(status=status, headers=headers, body=json.dumps(problem))

    page.route(re.compile(r"/api/v1/jobs/\??$"), answer)
    return keys


def only_refusals(complaints: list[str]) -> bool:
    """True if the browser complains about nothing but error answers."""
    return all(complaint.startswith("Failed to load resource") for complaint in complaints)


def test_a_mail_shows_its_timeline(tab: Tab) -> None:
    page = log_in(tab)
    page.get_by_role("link", name="Mail").click()
    page.get_by_label("To", exact=True).fill("Ada <ada@example.org>")
    page.get_by_label("Subject").fill("Minutes of the meeting")
    page.get_by_label("Text").fill("Dear Ada")
    page.get_by_role("button", name="Send mail").click()
    row = page.locator("#mail-list > li").first
    expect(row.get_by_role("heading", name="Minutes of the meeting")).to_be_visible()
    expect(row.locator(".timeline li").first).to_contain_text("Created")
    expect(page.get_by_label("Subject")).to_have_value("")


def test_a_mail_to_a_suppressed_address_says_why_it_was_not_sent(tab: Tab, sqlite_stack: Stack) -> None:
    sqlite_stack.run_code(SUPPRESS)
    page = log_in(tab)
    page.get_by_role("link", name="Mail").click()
    page.get_by_label("To", exact=True).fill("left@example.org")
    page.get_by_label("Subject", exact=True).fill("Nobody reads this")
    page.get_by_label("Text", exact=True).fill("Dear all")
    page.get_by_role("button", name="Send mail").click()
    row = page.locator("#mail-list > li").filter(has_text="Nobody reads this")
    expect(row.locator(".message")).to_have_text("Not sent: its address is suppressed: unsubscribe")
    assert tab.complaints == []


def test_everything_can_be_done_by_keyboard(tab: Tab) -> None:
    page = log_in(tab)
    row = post_countdown(page, 600)
    expect(row.locator(".status")).to_have_text("Running")
    row.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    # The focused button goes away, and the focus moves to the one beside it.
    expect(row.get_by_role("button", name="Details")).to_be_focused()
    page.keyboard.press("Enter")
    expect(row.locator(".row-details")).to_contain_text("Params")
    expect(page.get_by_role("status").filter(has_text="demo.countdown was cancelled.")).to_have_count(1)


def test_a_post_without_the_csrf_header_is_403(tab: Tab) -> None:
    log_in(tab)
    body = '{"kind": "demo.countdown", "params": {"seconds": 0}}'
    options = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": body}
    answer = tab.fetch("/api/v1/jobs/", **options)
    assert answer["status"] == 403
    assert "CSRF" in answer["body"]


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 403), ("localhost", 401)])
def test_a_form_on_another_page_cannot_post(tab: Tab, another_origin: int, host: str, status: int) -> None:
    """From the same host the browser sends the session cookie along; to another site's request it does not (Lax)."""
    page = log_in(tab)
    page.goto(f"http://{host}:{another_origin}/")
    with page.expect_response(lambda answer: "/api/v1/jobs/" in answer.url) as answer:
        page.get_by_role("button", name="Win").click()
    assert answer.value.status == status


@pytest.mark.parametrize("options", [{"color_scheme": "light"}, {"color_scheme": "dark", "viewport": PHONE}])
def test_axe_finds_nothing_serious(browser: Browser, sqlite_stack: Stack, options: dict[str, Any]) -> None:
    sqlite_stack.run_code(MAKE_USER)
    # axe is injected as an inline script, which the policy would refuse.
    with open_tab(browser, sqlite_stack.url, **options, bypass_csp=True) as tab:
        page = tab.open()
        page.get_by_label("User name").wait_for()
        assert findings(page) == []
        look = f"{tab.page.viewport_size['width']} {options['color_scheme']}.png"  # type: ignore[index]
        page.screenshot(path=SCREENSHOTS / f"page login {look}")
        log_in(tab)
        page.locator("#job-list > li, #job-list-empty").first.wait_for()
        for button in page.get_by_role("button", name="Details").all()[:2]:
            button.click()
        for part in ("Jobs", "Mail"):
            page.get_by_role("link", name=part).click()
            page.get_by_role("heading", name=f"Your {part.lower()}").wait_for()
            for composer in page.locator(".composer:not([open]):visible").all():
                composer.locator("summary").first.click()
            page.screenshot(path=SCREENSHOTS / f"page {part.lower()} {look}", full_page=True)
            assert findings(page) == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_swagger_ui_keeps_to_its_policy_and_executes_as_it_stands(tab: Tab) -> None:
    log_in(tab)
    page = tab.open("/api/v1/docs/")
    operation = page.locator("#operations-jobs-jobs_create")
    operation.get_by_role("button", name=re.compile("Accept a job")).first.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table td.response-col_status:not(.col_header)")).to_contain_text("202")
    assert tab.complaints == []


@pytest.fixture
def another_origin(sqlite_stack: Stack) -> Iterator[int]:
    """The port of a server whose page has a form that posts a job to the stack."""
    form = f"""<!doctype html><form method="post" enctype="text/plain" action="{sqlite_stack.url}/api/v1/jobs/">
      <input name='{{"kind": "demo.countdown", "unique_key": "' value='"}}'><button>Win</button></form>"""

    with make_server(lambda asked: (200, {"Content-Type": "text/html"}, form.encode())) as server:
        yield server.port
