"""Whatever bytes come, from anybody: a typed error at most, memory that stays flat, and nobody else is disturbed."""
