"""The command ``lbnet``: one file a command."""
