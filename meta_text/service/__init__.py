"""An HTTP service over a folder of classifiers (extra `[serve]`)."""
