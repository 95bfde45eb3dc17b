"""The providers' webhooks: verify the signature, hand the events to mail.events."""
