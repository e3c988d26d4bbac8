"""Model file formats: one module for each format, with a subclass of `document.Document`."""
