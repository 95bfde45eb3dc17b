"""Autoscaling, simulated: which figure should decide how many worker machines run (`python -m benchmarks.scaling`).

load.py         how many jobs come, by minute
simulation.py   the queue, its workers, and machines that need minutes to start
policies.py     pure functions: how many machines are wanted, from what was observed
per_job.py      what one job costs PostgreSQL, measured
"""
