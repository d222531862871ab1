"""Contract suites: what every member of a family must keep. A new member joins by one line in its own tests."""
