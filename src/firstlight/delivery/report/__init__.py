"""The report: a run folder becomes one HTML file that needs nothing else, neither a network nor the images."""
