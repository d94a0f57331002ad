"""Training-serving skew: pairing (I/O), comparison and causes (pure), the report."""
