"""Continuous batching: a request queue and fixed slots on the host; jitted prefill and decode chunks on the device."""
