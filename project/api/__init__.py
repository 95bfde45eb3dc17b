"""The resources of the API that describe the API itself: index, documentation, limits."""
