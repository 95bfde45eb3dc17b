"""The HTTP API of mail: urls → views → request parsing and serializers → models."""
