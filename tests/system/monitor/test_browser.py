"""The task monitor in Chromium, over running web and worker processes."""

import shutil
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from demo.eventually import eventually
from tests.support.browser import SCREENSHOTS, findings, open_tab
from tests.support.stack import Stack
from tests.support.timeouts import PATIENCE, lost_time

CHROMIUM = "/usr/bin/chromium"
PASSWORD = "correct horse battery staple"
READ_ONLY = """
from django.contrib.auth.models import Permission, User
user = User.objects.get(username="viewer")
user.is_superuser = False
user.save()
user.user_permissions.set(Permission.objects.filter(codename="view_job"))
"""
MANY_FAILED = """
from tests.support.factories import make_job
from jobs.models import Job
first = make_job("failed", kind="report.activity", params={"days": 1})
rows = Job.objects.filter(pk=first.pk).values().get()
Job.objects.bulk_create([Job(**rows | {"id": Job._meta.pk.default()}) for _ in range(4999)], batch_size=500)
"""

GROUP_OF_FAILED = """
from tests.support.factories import make_error, make_job
for _ in range(3):
    make_job("failed", kind="report.activity", params={"days": 1}, errors=[make_error("of a group")])
"""

BOUNCED = """
from mail.models import Attempt, Event, Suppression
from tests.support.mail.messages import make_message
failure = {"class": "hard_bounce", "detail": "550 no such user"}
message = make_message("bounced", html="<p>Dear Ada</p><script>document.body.remove()</script>", failure=failure)
attempt = Attempt.objects.create(message=message, provider="mailgun", outcome="accepted")
Event.objects.create(message=message, attempt=attempt, source="webhook", provider="mailgun", type="bounced", raw={})
Suppression.objects.suppress("bounced@example.org", "bounce", "all", None, source="mailgun")
print(message.pk)
"""

ONE_OF_EACH = """
from django.contrib.auth.models import User
from jobs.models import Job, Pause
from mail.models import Broadcast, Suppression
from monitor.rollups.finished_jobs import count_finished_jobs
from tests.support.factories import make_error, make_job
from tests.support.mail.messages import make_message
from django.utils import timezone
import datetime
failed = make_job("failed", finished_at=timezone.now() - datetime.timedelta(minutes=1), errors=[make_error("first")])
waits, done = make_job("retrying"), make_job("succeeded", result={"a": 1})
count_finished_jobs()
Pause.objects.get_or_create(scope="kind", name="demo.remote", defaults={"reason": "a test", "by": "operator"})
broadcast = Broadcast.objects.create(user=User.objects.get(username="operator"), subject="a", text="b", recipients=[])
message = make_message("bounced", html="<p>a</p>", failure={"class": "hard_bounce", "detail": "550"})
suppression = Suppression.objects.suppress("axe@example.org", "bounce", "all", None, source="mailgun")
for job in (failed, waits, done):
    print(f"jobs/job/{job.pk}/change/")
print("jobs/job/new/", "jobs/job/?status=failed", f"mail/message/{message.pk}/change/", "mail/suppression/add/")
print(f"mail/suppression/{suppression.pk}/change/", f"mail/suppression/{suppression.pk}/delete/")
print(f"mail/broadcast/{broadcast.pk}/change/")
"""
ACCEPTED_WITHIN, DONE_WITHIN = 2, 10
"""Seconds."""
LISTS = (
    *("", "jobs/job/", "errors/", "queues/", "admin/logentry/", "mail/message/", "mail/suppression/"),
    *("mail/provider/", "mail/broadcast/", "mail/event/", "mail/alert/"),
)
"""Pages below /admin/."""
WIDTHS = (1280, 390)

pytestmark = pytest.mark.skipif(shutil.which(CHROMIUM) is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def stack(_postgresql_stack: Stack) -> Stack:
    stack = _postgresql_stack.revive()
    stack.add_user("operator", PASSWORD, staff=True)
    stack.add_user("viewer", PASSWORD, staff=True)
    stack.run_code(READ_ONLY)
    return stack


@pytest.fixture
def context(browser: Browser, stack: Stack) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=stack.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE * 1000)
    yield context
    context.close()


@pytest.fixture(scope="module")
def operators(browser: Browser, stack: Stack) -> dict[str, list[object]]:
    """The session cookies of each operator, who logs in only once: logins per address are limited."""
    cookies = {}
    for name in ("operator", "viewer"):
        context = browser.new_context(base_url=stack.url)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto("/admin/")
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/admin/")
        expect(page.get_by_text("Running now")).to_be_visible()
        cookies[name] = context.cookies()
        context.close()
    return cookies


@pytest.fixture
def page(context: BrowserContext, operators: dict[str, list[object]]) -> Page:
    context.add_cookies(operators["operator"])
    return context.new_page()


def wait(page: Page, text: str) -> None:
    expect(page.get_by_text(text).first).to_be_visible(timeout=PATIENCE * 1000)


def resized(page: Page) -> Iterator[int]:
    """Resize the page to the widths of a desktop and of a phone, one after the other."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        yield width


def job_that_waits(stack: Stack) -> str | None:
    """Post a countdown and then a report. The id of the countdown if it is still queued when the report is done."""
    client = stack.client()
    posted = client.post("jobs/", json={"kind": "demo.countdown", "params": {"seconds": 0}}).json()["id"]
    other = client.post("jobs/", json={"kind": "report.activity", "params": {"days": 1}}).json()["id"]
    client.wait_for(other, "succeeded")
    return posted if client.job(posted)["status"] == "queued" else None


def _name(path: str) -> str:
    """The name of a page, without ids."""
    parts = [part for part in path.partition("?")[0].split("/") if part and "-" not in part]
    return " ".join(parts) or "dashboard"


@pytest.mark.xdist_group("postgresql")
@pytest.mark.stack
class TestBrowser:
    """On one worker of pytest-xdist, with the other tests of this stack."""

    def test_a_job_appears_progresses_and_is_cancelled_without_reloading(self, page: Page, stack: Stack) -> None:
        page.goto("/admin/jobs/job/?kind=demo.countdown")
        page.evaluate("window.notReloaded = true")
        posted = stack.client().post("jobs/", json={"kind": "demo.countdown", "params": {"seconds": 600}})
        job = posted.json()["id"]
        row = page.locator("tr", has_text=job[-12:])
        expect(row.locator(".lw-badge")).to_have_text("running", timeout=PATIENCE * 1000)
        expect(row.get_by_text("s left")).to_be_visible(timeout=PATIENCE * 1000)
        assert page.evaluate("window.notReloaded")
        row.get_by_role("link").first.click()
        page.evaluate("window.notReloaded = true")
        page.get_by_role("button", name="Cancel").click()
        wait(page, "Cancel: done.")
        expect(page.locator(".lw-head .lw-badge")).to_have_text("cancelled", timeout=PATIENCE * 1000)
        page.get_by_role("button", name="Retry").click()
        wait(page, "Retry: done.")
        page.get_by_role("button", name="Cancel").click()

    def test_a_page_whose_session_has_ended_says_so_with_a_link(self, page: Page, context: BrowserContext) -> None:
        page.goto("/admin/queues/?a=b")
        mark = page.locator("[data-live-state]")
        expect(mark).to_have_text("live")
        context.clear_cookies()
        link = mark.get_by_role("link", name="session ended: log in again")
        expect(link).to_be_visible(timeout=PATIENCE * 1000)
        link.click()
        page.wait_for_url("**/admin/login/?next=%2Fadmin%2Fqueues%2F%3Fa%3Db")

    def test_5000_failed_jobs_are_retried_by_their_filter(self, page: Page, stack: Stack) -> None:
        stack.run_code(MANY_FAILED)
        page.goto("/admin/jobs/job/?kind=report.activity&status=failed")
        page.get_by_label("all that this filter matches").check()
        page.get_by_role("button", name="Retry …").click()
        wait(page, "Retry: 5,000 jobs?")
        with lost_time() as lost:
            began = monotonic()
            page.get_by_role("button", name="Retry 5,000").click()
            page.wait_for_url("**/change/")
            accepted = monotonic() - began - lost()
            expect(page.locator(".lw-head .lw-badge")).to_have_text("succeeded", timeout=PATIENCE * 1000)
            assert monotonic() - began - lost() < DONE_WITHIN
        assert accepted < ACCEPTED_WITHIN
        expect(page.get_by_role("progressbar").first).to_be_visible()
        wait(page, '"changed": 5000')
        stack.run_code("from jobs.models import Job; Job.objects.filter(kind='report.activity').cancel_many()")

    def test_all_jobs_of_a_group_of_errors_are_retried(self, page: Page, stack: Stack) -> None:
        stack.run_code(GROUP_OF_FAILED)
        page.goto("/admin/errors/?q=of+a+group")  # where it appears by itself, once it was counted
        page.get_by_role("button", name="Retry all …").click()
        wait(page, "Retry: 3 jobs?")
        page.get_by_role("button", name="Retry 3").click()
        expect(page.locator(".lw-head .lw-badge")).to_have_text("succeeded", timeout=PATIENCE * 1000)
        wait(page, '"changed": 3')

    def test_a_job_is_submitted_by_the_form_of_its_kind(self, page: Page, stack: Stack) -> None:
        page.goto("/admin/jobs/job/new/?kind=demo.countdown")
        page.get_by_label("seconds").fill("0")
        page.get_by_label("fail attempts").fill("1")
        page.get_by_role("button", name="Submit").click()
        wait(page, "Submitted demo.countdown")
        params = "from jobs.models import Job; print(Job.objects.filter(user__username='operator').latest('id').params)"
        assert stack.run_code(params).strip() == "{'seconds': 0, 'fail_attempts': 1}"

    def test_a_paused_kind_waits_until_it_is_resumed(self, page: Page, stack: Stack) -> None:
        page.goto("/admin/queues/")
        page.get_by_label("Name").fill("demo.countdown")
        page.get_by_label("Reason").fill("a test")
        page.get_by_role("button", name="Pause").click()
        wait(page, "running jobs go on")
        left = eventually(lambda: job_that_waits(stack), PATIENCE, "a job of the paused kind waiting while others run")
        page.get_by_role("button", name="Resume").click()
        stack.client().wait_for(left, "succeeded")

    def test_a_read_only_operator_sees_jobs_and_cannot_touch_them(
        self, context: BrowserContext, operators: dict[str, list[object]]
    ) -> None:
        context.add_cookies(operators["viewer"])
        page = context.new_page()
        page.goto("/admin/jobs/job/")
        expect(page.get_by_role("navigation", name="Status")).to_be_visible()
        expect(page.get_by_role("button", name="Cancel …")).to_have_count(0)
        refused = page.evaluate(
            """async () => {
                const body = new FormData(document.querySelector("#lw-bulk"));
                body.set("action", "cancel");
                body.set("everything", "1");
                return (await fetch("/admin/jobs/job/bulk/", {method: "POST", body})).status;
            }"""
        )
        assert refused == 403

    def test_a_bounced_mail_shows_its_timeline_and_its_body_in_a_sandbox(self, page: Page, stack: Stack) -> None:
        message = stack.run_code(BOUNCED).strip()
        page.goto(f"/admin/mail/message/{message}/change/")
        wait(page, "hard_bounce")
        expect(page.locator(".lw-steps")).to_contain_text("bounced")
        expect(page.frame_locator("iframe[sandbox]").get_by_text("Dear Ada")).to_be_visible()
        page.goto("/admin/mail/suppression/?q=bounced@example.org")
        page.get_by_role("link", name="bounced@example.org").click()
        page.get_by_role("link", name="Delete").first.click()
        page.get_by_label("Reason").fill("their server was down")
        page.get_by_role("button", name="Lift").click()
        wait(page, "1 lifted.")
        page.goto("/admin/mail/suppression/?q=bounced@example.org")
        expect(page.get_by_role("link", name="bounced@example.org")).to_have_count(0)

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing_serious_at_any_width(
        self, browser: Browser, stack: Stack, operators: dict[str, list[object]], scheme: Any
    ) -> None:
        """Pages choose their scheme when they are loaded, and follow the window's width at any time."""
        shown = stack.run_code(ONE_OF_EACH).split()
        with open_tab(browser, stack.url, color_scheme=scheme, bypass_csp=True) as tab:
            tab.page.context.add_cookies(operators["operator"])
            found: list[str] = []
            for path in (*LISTS, *shown):
                page = tab.open(f"/admin/{path}")
                assert "/login/" not in page.url
                page.wait_for_load_state("networkidle")
                for width in resized(page):
                    page.screenshot(path=SCREENSHOTS / f"monitor {_name(path)} {width} {scheme}.png", full_page=True)
                    found += [f"/admin/{path} at {width}: {each}" for each in findings(page)]
        assert found == []

    def test_no_page_is_wider_than_the_window_and_no_script_fails(self, page: Page) -> None:
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        for path in LISTS:
            page.goto(f"/admin/{path}")
            for width in resized(page):
                if page.evaluate("document.documentElement.scrollWidth") > width:
                    problems.append(f"/admin/{path} is too wide at {width}")
        assert problems == []
