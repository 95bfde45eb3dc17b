"""`python -m benchmarks.peers.api_django USERS JOBS` fills the database, and prints a token and a job of each user."""

import json
import os
import sys

import django
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.peers.api_django.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402  the apps must be ready
from rest_framework.authtoken.models import Token  # noqa: E402

from benchmarks.peers.api_django.models import Job  # noqa: E402

call_command("migrate", run_syncdb=True, verbosity=0)
users, jobs = map(int, sys.argv[1:])
found = []
for number in range(users):
    user = User.objects.create(username=f"user{number}")
    rows = [Job(user=user, kind="demo.countdown", params={"seconds": 0}) for _ in range(jobs)]
    Job.objects.bulk_create(rows)
    found.append({"token": Token.objects.create(user=user).key, "job": str(rows[0].pk)})
print(json.dumps(found))  # noqa: T201
