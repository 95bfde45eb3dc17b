"""Events that providers report: read → ingest → classify → apply."""
