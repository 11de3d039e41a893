"""The published protocols: landmarks, scans, segmentation."""
