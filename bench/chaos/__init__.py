"""Real processes, killed, stopped and cut off at random moments: does what went in come out, once?"""
