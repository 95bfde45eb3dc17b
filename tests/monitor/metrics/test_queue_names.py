"""The dashboard and the alert rules in deploy/ name metrics that exist."""

import re
import subprocess

import pytest

from demo.stack import ROOT
from monitor.metrics import http, queue

RULES, GRAFANA = ROOT / "deploy" / "prometheus" / "rules.yml", ROOT / "deploy" / "grafana" / "legwork.json"
NAME = re.compile(r"\blegwork_[a-z_]+")
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}


@pytest.mark.django_db
@pytest.mark.parametrize("file", [RULES, GRAFANA], ids=lambda file: file.name)
def test_every_metric_that_is_named_exists(file: object) -> None:
    families = [*queue.collect(), *http.REQUESTS.collect(), *http.SECONDS.collect()]
    existing = {f"{family.name}{suffix}" for family in families for suffix in SUFFIXES[family.type]}
    named = set(NAME.findall(file.read_text()))
    assert len(named) > 10
    assert named - existing == set()


def test_promtool_accepts_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
