"""A finished classifier answers: for single images of any kind, for files, and for batches of a whole split."""
