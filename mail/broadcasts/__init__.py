"""Broadcasts, one template to many recipients: recipients → fan_out → release, or cancellation."""
