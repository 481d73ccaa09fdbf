"""A small simulated dataset in NSD's own file formats, with known answers."""
