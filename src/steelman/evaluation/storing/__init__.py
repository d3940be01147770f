"""What an evaluation leaves: the journal, run folders, and the records read from them."""
