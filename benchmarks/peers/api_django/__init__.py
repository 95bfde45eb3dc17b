"""A typical job API with Django and DRF: DRF's token authentication, a model serializer, cursor pagination.

With Celery on Redis under gunicorn's threads, or with stock django-q2 under Django's own ASGI handler.
"""
