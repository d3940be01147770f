"""What Foolbox imports and its attacks never call."""
