"""How uvicorn is bounded: which requests it parses, and which threads run them."""
