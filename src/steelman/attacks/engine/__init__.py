"""The engine: one loop that runs every rule, what a rule sees, and how the victim is asked."""
