"""Pull Jobs and pull pods, and the evidence in their status."""
