"""Golden records: what evaluations came to, sample by sample, when these records were written."""
