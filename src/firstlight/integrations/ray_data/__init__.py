"""Predictions of any number of images on many processes and machines with Ray Data, written as Parquet."""
