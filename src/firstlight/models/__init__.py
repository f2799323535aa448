"""Networks, the classifier around them, pretrained weights, and the model file; knows no data set."""
