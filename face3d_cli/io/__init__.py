"""Files: photos in, meshes, pictures and reports out. Every write is atomic."""
