"""Whom to ask for work, and when: the interface and one file a strategy. Pure."""
