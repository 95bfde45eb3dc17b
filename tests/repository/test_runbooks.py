"""Each alert and each finding of `manage.py doctor` has a section in docs/operations/runbooks.md, and vice versa."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from demo.stack import ROOT

PAGE = "docs/operations/runbooks.md"
DOCTOR = [*sorted((ROOT / "monitor" / "checkup").glob("*.py")), ROOT / "monitor/management/commands/doctor.py"]


def sections() -> list[str]:
    """As links name them."""
    headings = re.findall(r"^## (.+)$", (ROOT / PAGE).read_text(), re.MULTILINE)
    return [heading.lower().replace(" ", "-") for heading in headings]


def alerts() -> Iterator[tuple[str, str]]:
    """Each alert's name and where it links to."""
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        yield rule["alert"], rule["annotations"].get("runbook_url", "")
    template = (ROOT / "deploy/cloudformation/legwork.yaml").read_text()
    for description in re.findall(r"AlarmDescription: (.*)", template):
        yield description, (re.findall(r"docs/\S+?(?=\"|$)", description) or [""])[0]


def problems(file: Path) -> Iterator[tuple[str, str]]:
    """Where each Problem is made, and the section that it names."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
            last = node.args[-1]
            yield f"{file.name}:{node.lineno}", str(last.value) if isinstance(last, ast.Constant) else ""


@pytest.mark.parametrize(("alert", "link"), [*alerts()])
def test_an_alert_links_to_its_section(alert: str, link: str) -> None:
    page, _, section = link.partition("#")
    assert page == PAGE
    assert section in sections()


@pytest.mark.parametrize(("place", "section"), [found for file in DOCTOR for found in problems(file)])
def test_a_finding_of_doctor_names_its_section(place: str, section: str) -> None:
    assert section in sections()


def test_every_section_is_named_once_and_linked_to() -> None:
    linked = {link.partition("#")[2] for _, link in alerts()}
    linked |= {section for file in DOCTOR for _, section in problems(file)}
    assert sorted(linked) == sorted(sections())
