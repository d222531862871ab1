"""Boards: what they have, what a network needs of it, and what that takes in time and energy."""
