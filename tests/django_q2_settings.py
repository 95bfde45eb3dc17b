"""What django-q2's own test suite expects of the settings, with our broker and our qcluster command."""

from settings import env
from settings.test import *  # noqa: F403

TIME_ZONE = "Europe/Amsterdam"
Q_CLUSTER = {
    "name": "django_q_test",
    "broker_class": BROKER["class"],  # noqa: F405
    "orm": "default",
    # Of django-q's own Redis broker, which one of its tests uses; ours is BROKER_URL.
    "redis": env.text("CACHE_URL"),
    "testing": True,
    "cpu_affinity": 1,
}
