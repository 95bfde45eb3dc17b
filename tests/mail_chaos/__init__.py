"""Mail meets every failure at once while its workers are killed; afterwards each message is where the policy says.

`python -m tests.mail_chaos` prints what was done and what came of it, and ends with 1 if a promise was broken.
"""
