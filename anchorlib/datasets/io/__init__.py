"""Access to the disk: files, folders, image headers and `.npz` archives."""
