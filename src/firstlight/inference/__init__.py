"""Run a trained classifier: on single images of any kind, on files, and on whole splits."""
