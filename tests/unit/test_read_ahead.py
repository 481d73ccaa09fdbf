import threading

from brain_activity_prediction.runtime.read_ahead import read_ahead


def test_to_give_up_reading_ahead_waits_for_no_thread():
    """Garbage collection may give it up while a thread is being started, which would wait for it in turn."""
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def prepare(item):
        if item:
            begun.set()
            may_end.wait(10)
        ended.append(item)

    pairs = read_ahead(range(3), prepare)
    next(pairs)
    assert begun.wait(10)
    pairs.close()
    assert ended == [0]
    may_end.set()
