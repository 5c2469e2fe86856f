"""Pull Jobs and pods: how they are made, and what their status proves."""
