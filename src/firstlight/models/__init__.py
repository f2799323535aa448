"""Models: networks, the classifier around them, and the file that carries it; knows no data set."""
