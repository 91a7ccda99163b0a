"""The same models with fewer bits and fewer weights, each way measured on the model's own task."""
