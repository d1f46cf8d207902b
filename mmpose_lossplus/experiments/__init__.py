"""What several tools share and no config names; imported by name."""
