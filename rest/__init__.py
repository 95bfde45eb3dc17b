"""The HTTP conventions of the API: errors, strict input, idempotency, conditional requests, pagination, throttling."""
