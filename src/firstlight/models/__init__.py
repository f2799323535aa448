"""Networks, the classifier around them, pretrained weights, and the model file; nothing here depends on a data set."""
