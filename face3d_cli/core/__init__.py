"""Geometry in numpy: meshes, cameras, transforms, rasters. No files, no torch."""
