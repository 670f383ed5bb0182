"""Who may do what: the cluster's authority, its tokens, and the files that hold its secrets.

It must not know sockets, messages or jobs.
"""
