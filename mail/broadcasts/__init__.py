"""One template to many recipients: messages are made, released in portions, and cancelled together."""
