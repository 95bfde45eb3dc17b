"""What requests may contain: bodies, JSON types, parameters and header fields, checked before a view uses them."""
