"""`--batch-size auto` doubles the batch until memory or throughput says stop."""

import pytest

from brain_activity_prediction.extraction import batch_size
from brain_activity_prediction.extraction.batch_size import MOST_IMAGES, Conditions, read_size, remember_size, search
from brain_activity_prediction.runtime.errors import InputError

CPU = Conditions("cpu, 2 threads", "float32", None, ["vision"], 0, 0)


class Machine:
    """A model on a device: `seconds(n)` of a batch, and the largest batch that memory holds."""

    def __init__(self, seconds, holds=10**6, warns=True):
        self.of, self.holds, self.warns = seconds, holds, warns
        self.image_ids, self.tried = range(10**6), []
        self.memory = self.runner = self

    def seconds(self, n_images):
        self.tried.append(n_images)
        if n_images > self.holds:
            raise RuntimeError("CUDA out of memory")
        return self.of(n_images)

    def measure(self):
        pass

    def free_memory(self):
        pass

    def holds_double(self):
        return not self.warns or 2 * self.tried[-1] <= self.holds


@pytest.mark.parametrize(
    ("seconds", "size"),
    [
        (lambda n: 1.0 * n, 1),  # a CPU whose cores are busy with one image
        (lambda n: 1.0 * max(n, 8), 8),  # a GPU that one image does not fill
        (lambda n: 1.0 * max(n, 8) + n * n / 100, 8),  # slower when larger
        (lambda n: 1.0, MOST_IMAGES),
    ],
)
def test_doubling_stops_where_throughput_does_not_grow(seconds, size):
    assert search(Machine(seconds), 10**6) == (size, True)


@pytest.mark.parametrize("warns", [True, False])
def test_doubling_stops_where_memory_ends(warns):
    machine = Machine(lambda n: 1.0, holds=20, warns=warns)
    assert search(machine, 10**6) == (16, True)
    assert machine.tried == [1, 2, 4, 8, 16] + ([] if warns else [32])


def test_memory_that_does_not_hold_one_image_is_one_line():
    with pytest.raises(InputError, match="does not hold one image"):
        search(Machine(lambda n: 1.0, holds=0), 100)


def test_another_error_is_not_taken_for_the_end_of_memory():
    class Broken(Machine):
        def seconds(self, n_images):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        search(Broken(None), 100)


def test_a_search_that_ends_for_want_of_images_is_not_remembered():
    assert search(Machine(lambda n: 1.0), 100) == (4, False)


def test_the_next_batch_is_expected_to_grow_by_twice_the_last_growth(monkeypatch):
    peaks = iter([100, 110, 130])
    monkeypatch.setattr(batch_size, "peak", lambda device: next(peaks))
    monkeypatch.setattr(batch_size, "free", lambda device: 40)
    taken = batch_size.Memory("cpu")
    taken.measure()
    assert taken.holds_double()  # 20 more of 40
    taken.measure()
    assert not taken.holds_double()  # 40 more of 40


def test_a_size_is_remembered_for_a_model_a_device_and_settings(tmp_path):
    remember_size(tmp_path, "org/model", CPU, 16)
    assert read_size(tmp_path, "org/model", CPU) == 16
    assert read_size(tmp_path, "org/other", CPU) is None
    for other in ({"device": "NVIDIA H200"}, {"dtype": "bfloat16"}, {"n_prompts": 9}, {"streams": ["vision_cls"]}):
        assert read_size(tmp_path, "org/model", Conditions(**vars(CPU) | other)) is None
    remember_size(tmp_path, "org/model", Conditions(**vars(CPU) | {"device": "NVIDIA H200"}), 64)
    assert read_size(tmp_path, "org/model", CPU) == 16


@pytest.mark.parametrize("content", ["", "{}", '{"conditions": 3, "n_images": 4}', "[" * 10**5, '{"n_images": true}'])
def test_a_damaged_file_is_said_and_measured_again(tmp_path, caplog, content):
    remember_size(tmp_path, "org/model", CPU, 16)
    (path,) = tmp_path.rglob("*.json")
    path.write_text(content)
    assert read_size(tmp_path, "org/model", CPU) is None
    assert "so it is measured again" in caplog.text


def test_no_size_below_one_is_read(tmp_path):
    remember_size(tmp_path, "org/model", CPU, 16)
    (path,) = tmp_path.rglob("*.json")
    path.write_text(path.read_text().replace("16", "0"))
    assert read_size(tmp_path, "org/model", CPU) is None
