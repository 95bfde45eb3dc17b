"""Legwork's web process with the router and the pinning of django-multidb-router in place of its own."""

from settings import development
from settings.development import *  # noqa: F403

REPLICA_DATABASES = list(development.REPLICAS)
REPLICAS = {}
DATABASE_ROUTERS = ["multidb.PinningReplicaRouter"]
# As its documentation says: first of all; 15 seconds after a write is its default.
MIDDLEWARE = ["multidb.middleware.PinningRouterMiddleware", *MIDDLEWARE]  # noqa: F405
