"""What an alignment leaves: scores of every voxel on disk, and the tables, pictures and maps made of them."""
