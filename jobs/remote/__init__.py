"""Remote workers: programs of a user lease due jobs of that user's remote kinds over HTTP, and report how they end."""
