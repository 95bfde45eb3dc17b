"""The client, blocking. Made from legwork_client/aio by make_sync.py; do not edit."""
