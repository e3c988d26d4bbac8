"""Numbers to text, JSON and pictures. Nothing here prints."""
