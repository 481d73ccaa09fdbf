"""Read FreeSurfer's .label files: the vertices of one region, in text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brain_activity_prediction.storage.files import read_bytes, reading

LARGEST_BYTES = 2**26  # a line for each vertex: its number from 0, three coordinates and a value


def read_label(path: Path, n_vertices: int) -> np.ndarray:
    """Return which vertices (n_vertices,) of a surface a file names; raise InputError for a file of other vertices."""
    with reading(path):
        lines = read_bytes(path, LARGEST_BYTES).decode().splitlines()
        rows = [line.split() for line in lines[2:] if line.strip()]
        if len(lines) < 2 or int(lines[1]) != len(rows):
            raise ValueError("its second line is not the number of the lines that follow")
        vertices = np.array([int(row[0]) for row in rows], dtype=int)
        if vertices.size and not 0 <= vertices.min() <= vertices.max() < n_vertices:
            raise ValueError(f"it names vertex {vertices.max():,}, but the responses have {n_vertices:,} vertices")
    inside = np.zeros(n_vertices, dtype=bool)
    inside[vertices] = True
    return inside
