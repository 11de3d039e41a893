"""Data sets, augmentation and training loops of the networks that this project ships."""
