"""Fuzz targets: one function for each kind of hostile input, its seeds, and who judges what came of an input."""
