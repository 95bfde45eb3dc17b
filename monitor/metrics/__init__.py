"""/metrics for Prometheus: the queue's figures from roll-ups, and this host's HTTP requests."""
