"""Export: from a trained model to a folder that predicts."""
