"""The page's HTML: the same for everybody, without inline code, under a strict policy."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

import project.page

PAGES = ["/", "/api/v1/docs/"]
MODULES = sorted((Path(project.page.__file__).parent / "static" / "page").glob("*.js"))


class Inline(HTMLParser):
    """Collects inline scripts and styles, which the policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        if tag == "style" or (tag == "script" and "src" not in names):
            self.found.append(f"<{tag}>")
        self.found += [f"<{tag} {name}>" for name in names if name == "style" or name.startswith("on")]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_a_strict_policy_and_no_inline_code(path: str) -> None:
    answer = Client().get(path)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/html")
    policy = dict(part.split(" ", 1) for part in answer["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer["Content-Security-Policy"]
    found = Inline()
    found.feed(answer.content.decode())
    assert found.found == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_the_same_for_everybody(path: str) -> None:
    """It reads no session and sets no cookie: the database is not touched, which would fail here."""
    answer = Client().get(path)
    assert not answer.cookies
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", answer.content.decode())


@pytest.mark.django_db
@pytest.mark.parametrize("path", [*PAGES, "/admin/login/"])
def test_a_page_has_an_icon_that_exists(path: str) -> None:
    icon = re.search(r'<link rel="icon" href="/static/([^"]+)"', Client().get(path).content.decode())
    assert icon
    assert finders.find(icon[1])


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_a_module_imports_existing_files_and_makes_no_html_from_text(module: Path) -> None:
    text = module.read_text()
    for imported in re.findall(r"""from "\./([^"]+)";""", text):
        assert finders.find(f"page/{imported}"), imported
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)


def test_a_post_to_the_page_is_a_problem() -> None:
    answer = Client().post("/")
    assert answer.status_code == 405
    assert answer["Content-Type"] == "application/problem+json"
