"""The exit codes of the command line."""

DONE, WRONG_INPUT, INTERRUPTED, TERMINATED = 0, 2, 130, 143
