"""Legwork's settings for plain django-q tasks; PLAIN_STOCK=1 has django-q2's own ORM broker and cluster instead."""

from benchmarks.settings import *  # noqa: F403
from settings import env

if env.boolean("PLAIN_STOCK", default=False):
    Q_CLUSTER["broker_class"] = None  # noqa: F405
    Q_CLUSTER["recycle"] = 500  # noqa: F405
