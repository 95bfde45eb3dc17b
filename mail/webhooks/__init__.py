"""The providers' webhooks: verify, read the event, pass it to mail.events.ingest."""
