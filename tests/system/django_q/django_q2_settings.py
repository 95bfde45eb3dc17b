"""What django-q2's own test suite expects of the settings, with our broker and our qcluster command."""

from settings.test import *  # noqa: F403

TIME_ZONE = "Europe/Amsterdam"
Q_CLUSTER = {
    "name": "django_q_test",
    "broker_class": BROKER["class"],  # noqa: F405
    "orm": "default",
    "testing": True,
    "cpu_affinity": 1,
}
