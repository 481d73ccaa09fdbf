"""Choose the number of images in a batch for a model and a device, and remember it."""
