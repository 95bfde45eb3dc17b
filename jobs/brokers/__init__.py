"""Where workers learn of jobs: the database by default, or Redis or SQS by BROKER_URL."""
