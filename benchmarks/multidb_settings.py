"""Settings of Legwork's web process with django-multidb-router's router and pinning instead of its own."""

from settings import development
from settings.development import *  # noqa: F403

REPLICA_DATABASES = list(development.REPLICAS)
REPLICAS = {}
DATABASE_ROUTERS = ["multidb.PinningReplicaRouter"]
# First in the list, as its documentation says. By default it pins a user to the primary for 15 seconds after a write.
MIDDLEWARE = ["multidb.middleware.PinningRouterMiddleware", *MIDDLEWARE]  # noqa: F405
