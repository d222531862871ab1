"""Trackers: what a run tells others while it goes on."""
