"""bqsearch: the smallest versions of a trained network that really fit and run on a microcontroller."""
