"""Starts one contained process: its command, what it sees, what it may do, and its end."""
