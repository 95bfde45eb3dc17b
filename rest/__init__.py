"""The HTTP conventions of the API: errors, strict input, idempotency, conditional answers, pagination, throttling."""
