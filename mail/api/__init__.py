"""The HTTP side of mail: urls → views → request parsing and serializers → models."""
