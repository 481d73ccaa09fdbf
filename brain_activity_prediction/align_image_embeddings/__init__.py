"""Scripts that predict brain responses from hidden states, and score the predictions for each voxel and region."""
