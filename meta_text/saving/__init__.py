"""Models and classifiers on disk and on the Hugging Face Hub."""
