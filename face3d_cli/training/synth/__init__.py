"""Training data for position map networks, made from labelled photos and ICT-FaceKit."""
