"""The client, for asyncio. legwork_client/sync is made from it by make_sync.py; do not edit that."""
