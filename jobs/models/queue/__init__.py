"""The queue in the table of jobs: how jobs are claimed and leased, and the SQL that does it."""
