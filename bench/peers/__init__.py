"""One adapter a peer: what a user would write with that library, and nothing cleverer."""
