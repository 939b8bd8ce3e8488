"""A page in the browser for teaching a classifier and asking it, with Gradio (extra `demo`)."""
