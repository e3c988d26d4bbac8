"""Label formats: one module per format, each with a function that returns `Labels`."""
