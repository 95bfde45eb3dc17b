"""Errors reach Sentry if its address is set; else its SDK is not imported (tests/repository/test_lazy_imports.py)."""

import json
import os
import subprocess
import sys

from demo.stack import ROOT

REPORT = """
import json
import django
django.setup()
import sentry_sdk

sent = []
client = sentry_sdk.get_client()
client.transport.capture_envelope = sent.append
sentry_sdk.capture_exception(ValueError("broken"))
event = sent[0].get_event()
print(json.dumps([event["release"], event["environment"], event["exception"]["values"][0]["value"]]))
"""


def test_an_error_is_reported_with_its_release() -> None:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings.development", "DATABASE_URL": "sqlite:///:memory:"}
    env |= {"SENTRY_DSN": "http://key@127.0.0.1:9/1", "SENTRY_ENVIRONMENT": "staging", "RELEASE": "2026.11"}
    done = subprocess.run([sys.executable, "-c", REPORT], cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == ["2026.11", "staging", "broken"]
