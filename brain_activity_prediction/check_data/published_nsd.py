"""Published figures of NSD, with which a copy is compared."""

from __future__ import annotations

# For subjects 1 to 8.
SHAPES = {  # of volumes
    "func1pt8mm": (
        *((81, 104, 83), (82, 106, 84), (81, 106, 82), (85, 99, 80)),
        *((79, 97, 78), (85, 113, 83), (78, 95, 81), (80, 103, 78)),
    ),
    "func1mm": (
        *((145, 186, 148), (146, 190, 150), (145, 190, 146), (152, 177, 143)),
        *((141, 173, 139), (152, 202, 148), (139, 170, 145), (143, 184, 139)),
    ),
}
VERTICES = {  # of the left and the right hemisphere
    "fsaverage": ((163842, 163842),) * 8,
    "nativesurface": (
        *((227021, 226601), (239633, 239309), (240830, 243023), (228495, 227262)),
        *((197594, 198908), (253634, 259406), (198770, 200392), (224364, 224398)),
    ),
}
NSDGENERAL = {  # voxels or vertices
    "func1pt8mm": (15724, 14278, 15226, 13153, 13039, 17907, 12682, 14386),
    "fsaverage": (37984,) * 8,
}
IMAGES = (10000, 10000, 9411, 9209, 10000, 9411, 10000, 9209)  # seen in all sessions
IMAGES_THREE_TIMES = (10000, 10000, 6234, 5445, 10000, 6234, 10000, 5445)
SHARED = (1000, 1000, 930, 907, 1000, 930, 1000, 907)
FIRST_IMAGES = {1: (46003, 61883, 829)}  # ids from 1 of a subject's first trials
