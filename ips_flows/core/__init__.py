"""Decision logic and data formats as pure functions: no socket, no subprocess, no printing."""
