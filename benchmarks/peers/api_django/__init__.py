"""A job API as one writes it with Django and DRF: the token class, a model serializer, the default pagination.

With Celery on Redis under gunicorn's threads, or with stock django-q2 under Django's own ASGI handler.
"""
