"""What every process holds in memory: modules that few need are not imported before they are used."""

import json
import os
import subprocess
import sys

from demo.stack import ROOT

SDKS = {"boto3", "cryptography.hazmat", "django.contrib.gis", "opentelemetry", "redis", "sentry_sdk"}
"""Of services that the default settings do not use, and of geography."""
LOADED = """
import json, sys
import django
django.setup()
import project.urls
from drf_spectacular.generators import SchemaGenerator
SchemaGenerator().get_schema(request=None, public=True)
print(json.dumps(sorted(sys.modules)))
"""


def test_no_process_imports_the_sdks_of_services_that_it_does_not_use() -> None:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings.development", "DATABASE_URL": "sqlite:///:memory:"}
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, env=env, check=True, capture_output=True, text=True)

    loaded = set(json.loads(done.stdout.splitlines()[-1]))

    assert "mail.webhooks.views" in loaded
    assert loaded & SDKS == set()
