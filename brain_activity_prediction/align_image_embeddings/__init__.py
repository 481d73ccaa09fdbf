"""Hidden states and responses in, scores a voxel and a region out."""
