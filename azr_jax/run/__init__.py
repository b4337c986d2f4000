"""What outlives a step."""
