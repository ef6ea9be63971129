"""Real cells that the lab builds, as a matrix."""
