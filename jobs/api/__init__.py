"""The HTTP side of jobs: urls → views → request parsing and serializers → models."""
