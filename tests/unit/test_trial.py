"""What a test run says of memory."""

import pytest

from brain_activity_prediction.extraction import trial


@pytest.mark.parametrize(
    ("device", "said"),
    [("cuda:1", "3.25 GB of GPU memory at most"), ("cpu", "1.50 GB of memory at most")],
)
def test_memory_is_that_of_the_device(device, said, monkeypatch):
    monkeypatch.setattr("torch.cuda.max_memory_allocated", {"cuda:1": 3.25e9}.__getitem__)
    monkeypatch.setattr(trial.resource, "getrusage", lambda who: type("Usage", (), {"ru_maxrss": 1.5e6}))
    assert trial._memory(device) == said
