"""Starts one contained process: what it is, what it sees, what it may do, and its end."""
