"""Core, hands and a simulated backend under virtual time. A failure is a seed."""
