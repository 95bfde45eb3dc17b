"""What the dashboard shows: figures from roll-ups, estimates, and short looks at the database."""
