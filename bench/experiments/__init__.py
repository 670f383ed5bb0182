"""One module a question; each is a command."""
