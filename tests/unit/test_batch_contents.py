import tracemalloc

import numpy as np
import pytest

from brain_activity_prediction.storage.embeddings.batch_files import Contents

VISION, BOTH = frozenset(["vision"]), frozenset(["vision", "language"])
FILES = {"ü": ([4, 2], VISION), "a": ([9], BOTH), "c": ([7, 8, 2], BOTH)}


@pytest.fixture
def seen():
    return []


@pytest.fixture
def read(seen):
    def read(name):
        seen.append(name)
        return FILES[name]

    return read


def as_dict(contents):
    return {name: (ids.tolist(), streams) for name, ids, streams in contents}


def test_files_come_in_the_order_of_their_names_with_what_they_hold(read):
    contents = Contents().of(["c", "ü", "a"], read)
    assert list(as_dict(contents)) == ["a", "c", "ü"]
    assert as_dict(contents) == FILES


def test_only_files_that_have_come_are_read_and_those_that_have_gone_are_forgotten(read, seen):
    contents = Contents().of(["ü"], read).of(["a", "ü", "c"], read)
    assert seen == ["ü", "a", "c"]
    assert as_dict(contents) == FILES
    contents = contents.of(["c", "a"], read)
    assert as_dict(contents) == {"a": FILES["a"], "c": FILES["c"]}
    assert as_dict(contents.of([], read)) == {}
    assert seen == ["ü", "a", "c"]


def test_the_images_that_have_a_stream_are_those_of_the_files_with_it(read):
    contents = Contents().of(list(FILES), read)
    assert contents.ids_with("language").tolist() == [9, 7, 8, 2]
    assert contents.ids_with("vision").tolist() == [9, 7, 8, 2, 4, 2]
    assert contents.ids_with("qformer").tolist() == Contents().ids_with("vision").tolist() == []


def test_an_image_takes_a_few_bytes():
    names = [f"batch_{first:05d}-{first + 7:05d}_0123456789ab.h5" for first in range(1, 80_001, 8)]

    def read(name):
        return range(int(name[6:11]), int(name[6:11]) + 8), frozenset(["vision"])

    tracemalloc.start()
    try:
        contents = Contents().of(names, read)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 12 * 80_000  # four for its number, the rest for a file's name and place by eight images
    np.testing.assert_array_equal(contents.ids_with("vision"), range(1, 80_001))
