"""`python -m tests.migrations`: exit status 1, with the reasons, if a migration breaks the previous release."""

import os
import sys

import django

from tests.support.servers.postgresql import PostgreSQL


def main() -> int:
    with PostgreSQL() as server:
        os.environ["DATABASE_URL"] = server.create_database("legwork")
        os.environ["DJANGO_SETTINGS_MODULE"] = "settings.test"
        django.setup()
        from tests.migrations.lint import complaints

        found = complaints()
    if found:
        print(f"{found}The previous release would not survive this: see docs/operations/upgrading.md.", file=sys.stderr)  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
