"""Brokers tell idle workers that jobs are due: the database by default, or Redis or Amazon SQS (BROKER_URL)."""
