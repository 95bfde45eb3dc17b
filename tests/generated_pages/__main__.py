"""Writes the generated pages: `python -m tests.generated_pages`."""

import os

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")
    django.setup()
    from tests.generated_pages.pages import PAGES

    for path, page in PAGES.items():
        path.write_text(page())
