"""What a search can aim at; each file ends in one Objective value, found through its entry point."""
