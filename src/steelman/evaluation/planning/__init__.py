"""What an evaluation sets out to do: threat groups, the attacker who knows the pipeline, and attempts."""
