"""What providers report about messages: parse → ingest → classify → apply."""
