"""Several processes on one folder: each piece of work goes to one of them, and what the dead had goes to the living."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from brain_activity_prediction.runtime import claims as module
from brain_activity_prediction.runtime import shared_work
from brain_activity_prediction.runtime.claims import Claims, remove_left_claims
from brain_activity_prediction.runtime.shared_work import shared_out


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "claims"


def test_work_is_given_to_one_and_refused_to_the_others(folder):
    with Claims(folder) as one, Claims(folder) as other:
        assert one.take("00001", ["scores"]) == ("scores",)
        assert other.take("00001", ["scores"]) == ()
        assert one.take("00001", ["scores"]) == ()
        one.give_back("00001")
        assert other.take("00001", ["scores"]) == ("scores",)
    assert not folder.exists()


def test_of_work_that_is_claimed_in_part_the_other_parts_can_be_had(folder):
    with Claims(folder) as one, Claims(folder) as two, Claims(folder) as three:
        assert one.take("00001", [None, 1]) == (None, 1)
        assert two.take("00001", [None, 1, 2, 3]) == (2, 3)
        assert three.take("00001", [1, 3, 4]) == (4,)
        assert three.take("00001", [1, 2, 3, 4]) == ()


def test_alone_what_is_finished_is_no_longer_claimed_and_with_others_it_is(folder):
    with Claims(folder) as one:
        one.take("00001", ["scores"])
        one.finished(["00001"])
        assert not (folder / "00001").is_symlink()
        with Claims(folder) as other:
            one.take("00002", ["scores"])
            one.finished(["00002"])
            assert other.take("00002", ["scores"]) == ()


def test_a_process_that_ended_is_noticed_once_however_briefly_it_was_there(folder):
    with Claims(folder) as one:
        assert not one.others_left()
        with Claims(folder):
            assert not one.others_left()
        with Claims(folder):
            pass
        assert one.others_left()
        assert not one.others_left()


HOLD = """
import sys, time
from brain_activity_prediction.runtime.claims import Claims
with Claims(sys.argv[1]) as claims:
    for work in sys.argv[2:]:
        claims.take(work, ["scores"])
    print("ready", flush=True)
    time.sleep(600)
"""


def holder(folder, *works):
    """A process with claims."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder, *works], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def end(process):
    process.kill()
    process.communicate()


def test_what_a_killed_process_had_can_be_had_by_one_of_the_others(folder, monkeypatch):
    with Claims(folder) as one, Claims(folder) as two:
        process = holder(folder, "00001", "00002")
        assert one.take("00001", ["scores"]) == ()
        end(process)
        monkeypatch.setattr(module, "FRESH_S", 0)
        assert one.take("00001", ["scores"]) == ("scores",)
        assert two.take("00001", ["scores"]) == ()
        assert two.take("00002", ["scores"]) == ("scores",)
        assert one.others_left()
    assert not folder.exists()


def test_what_killed_processes_left_is_removed_by_the_next_that_is_alone(folder):
    process = holder(folder, "00001", "00002")
    end(process)
    with Claims(folder) as claims:
        assert {path.name for path in folder.iterdir()} == {"owners"}
        assert [path.name for path in (folder / "owners").iterdir()] == [claims.name]


@pytest.fixture
def clock(monkeypatch):
    """The clock of this process, which a test may put forward; a look at who is alive is always a new one."""
    now = [time.monotonic()]
    monkeypatch.setattr(module, "FRESH_S", 0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


ELSEWHERE = "another-host~1~77~88~0123abcd"
DAY_S = 86400


@pytest.mark.parametrize("dated", [0, -DAY_S, DAY_S, None])
def test_a_process_elsewhere_lives_as_long_as_its_heartbeat_is_seen_to_change(folder, clock, dated):
    with Claims(folder) as claims:
        owner = folder / "owners" / ELSEWHERE
        owner.touch()
        (folder / "00001").symlink_to(f"{ELSEWHERE} scores")
        for beat in range(10):  # by whatever clock
            os.utime(owner, (0, beat if dated is None else time.time() + dated + beat))
            assert claims.take("00001", ["scores"]) == ()
            clock[0] += module.STALE_S * 0.9
        clock[0] += module.STALE_S * 0.2
        assert claims.take("00001", ["scores"]) == ("scores",)


def test_the_work_of_a_process_that_was_stopped_is_done_by_another(folder, clock):
    process = holder(folder, "00001")
    try:
        with Claims(folder) as claims:
            assert claims.take("00001", ["scores"]) == ()
            process.send_signal(signal.SIGSTOP)
            clock[0] += module.STALE_S + 1
            assert claims.take("00001", ["scores"]) == ("scores",)
            process.send_signal(signal.SIGCONT)
            (stopped,) = claims._look()[1]
            os.utime(folder / "owners" / stopped)  # its next heartbeat
            assert stopped in claims._look()[0]
    finally:
        end(process)


def test_foreign_files_in_the_folder_are_no_hindrance_and_stay(folder, tmp_path):
    (folder / "owners").mkdir(parents=True)
    foreign = [
        folder / "owners" / name for name in (".DS_Store", ".nfs0000001", "notes.left", "a~b", "~", "a~b~-1~0~00")
    ]
    foreign += [folder / name for name in (".DS_Store", "00002", "00003")]
    for path in foreign[:-1]:
        path.touch()
    foreign[-1].symlink_to(tmp_path / "elsewhere")
    (folder / "owners/a-folder").mkdir()
    with Claims(folder) as one, Claims(folder) as other:
        for number in range(1, 4):
            assert one.take(f"0000{number}", ["scores"]) == ("scores",)
            assert other.take(f"0000{number}", ["scores"]) == ()
        assert not one.others_left()
    assert {*folder.iterdir(), *(folder / "owners").iterdir()} == {
        *foreign,
        folder / "owners",
        folder / "owners/a-folder",
    }


@pytest.mark.parametrize("linked", ["claims", "claims/owners"])
def test_a_folder_of_claims_that_is_a_link_is_not_used(tmp_path, linked, capsys):
    others = tmp_path / "others"
    others.mkdir()
    (others / ELSEWHERE).touch()
    (others / f"{ELSEWHERE}.left").touch()
    (others / "link").symlink_to("somewhere")
    (tmp_path / linked).parent.mkdir(exist_ok=True)
    (tmp_path / linked).symlink_to(others)
    before = sorted(others.rglob("*"))
    with Claims(tmp_path / "claims") as claims:
        assert claims.take("00001", ["scores"]) == ("scores",)
    remove_left_claims(tmp_path / "claims")
    assert sorted(others.rglob("*")) == before
    assert "work cannot be claimed in" in capsys.readouterr().err


def test_a_living_process_renews_its_sign_of_life(folder, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.02)
    with Claims(folder) as claims:
        own = folder / "owners" / claims.name
        os.utime(own, (0, 0))
        deadline = time.monotonic() + 10
        while own.stat().st_mtime == 0:
            assert time.monotonic() < deadline


def test_claims_of_this_process_that_could_not_be_given_back_are_void(folder, monkeypatch):
    rename = os.rename
    with monkeypatch.context() as broken, Claims(folder) as one:
        one.take("00001", ["scores"])
        broken.setattr(os, "rename", lambda *_: rename("/nowhere", "/nowhere else"))
        one.__exit__()
        assert (folder / "00001").is_symlink()
    with Claims(folder) as other:
        assert other.take("00001", ["scores"]) == ("scores",)


@pytest.mark.parametrize("cannot", ["symlink", "mkdir"])
def test_where_claims_cannot_be_made_work_goes_on_and_a_line_says_so(folder, monkeypatch, capsys, cannot):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, cannot, refuse)
    monkeypatch.setattr(Path, "mkdir", refuse) if cannot == "mkdir" else None
    with Claims(folder) as claims:
        assert claims.take("00001", ["scores"]) == ("scores",)
        assert claims.take("00002", ["scores"]) == ("scores",)
        claims.finished(["00001"])
        assert not claims.others_left()
    assert capsys.readouterr().err.count("so another process with the same command may compute the same results") == 1


def test_all_that_is_left_is_shared_out_once_in_full_batches(folder):
    left = set(range(10))
    with Claims(folder) as claims:
        batches = list(shared_out(claims, lambda: {("a", "b"): sorted(left)}, 4, str))
    assert batches == [([0, 1, 2, 3], ("a", "b")), ([4, 5, 6, 7], ("a", "b")), ([8, 9], ("a", "b"))]


def test_what_another_is_at_is_waited_for_without_holding_up_what_was_given_before(folder, monkeypatch, capsys):
    monkeypatch.setattr(shared_work, "POLL_S", 0)
    left = {0, 1, 2}
    with Claims(folder) as one, Claims(folder) as other:
        other.take("1", ["a"])
        steps = shared_out(one, lambda: {("a",): sorted(left)}, 1, str)
        assert [next(steps)[0] for _ in range(4)] == [[0], [2], [], []]
        left.clear()  # written by whoever had it
        assert list(steps) == []
    assert "other processes work on the last 1; waiting for them" in capsys.readouterr().err


def test_what_a_process_finished_before_it_ended_is_not_given_again(folder):
    left = [0, 1, 2]
    with Claims(folder) as one:
        steps = shared_out(one, lambda: {("a",): list(left)}, 1, str)
        assert next(steps)[0] == [0]
        with Claims(folder) as other:
            assert other.take("1", ["a"]) == ("a",)
            left.remove(1)  # written
        assert [keys for keys, _ in steps] == [[2]]


CONTEND = """
import sys
from pathlib import Path
from brain_activity_prediction.runtime import claims, shared_work
shared_work.POLL_S = 0.01
done, n = Path(sys.argv[2]), int(sys.argv[3])
def left():
    return {("x",): [number for number in range(n) if not (done / str(number)).exists()]}
with claims.Claims(sys.argv[1]) as mine:
    for numbers, _ in shared_work.shared_out(mine, left, 3, str):
        for number in numbers:
            with (done / f"{number}.log").open("a") as log:
                log.write("x")
            (done / str(number)).touch()
        mine.finished(list(map(str, numbers)))
"""


def test_processes_at_once_compute_each_piece_of_work_once_and_leave_nothing_behind(folder, tmp_path):
    done = tmp_path / "done"
    done.mkdir()
    started = [subprocess.Popen([sys.executable, "-c", CONTEND, folder, done, "120"]) for _ in range(4)]
    assert [process.wait(timeout=60) for process in started] == [0] * 4
    assert [(done / f"{number}.log").read_text() for number in range(120)] == ["x"] * 120
    assert not folder.exists()


def test_processes_that_are_killed_all_the_time_lose_nothing(folder, tmp_path):
    done = tmp_path / "done"
    done.mkdir()
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", CONTEND, folder, done, "300"])
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert subprocess.run([sys.executable, "-c", CONTEND, folder, done, "300"], check=False).returncode == 0
    assert all((done / str(number)).exists() for number in range(300))
    assert not folder.exists()


def test_what_was_claimed_and_not_given_out_is_given_back_where_the_work_ends_early(folder):
    with Claims(folder) as one, Claims(folder) as other:
        other.take("0", ["b"])
        steps = shared_out(one, lambda: {("a", "b"): [0, 1, 2]}, 2, str)
        assert next(steps) == ([1, 2], ("a", "b"))
        assert other.take("0", ["a"]) == ()
        steps.close()
        assert other.take("0", ["a"]) == ("a",)
        assert other.take("1", ["a"]) == ()


def test_a_claim_that_goes_while_it_is_looked_at_is_nobodys(folder, monkeypatch):
    with Claims(folder) as one, Claims(folder) as other:
        one.take("1", ["a"])
        monkeypatch.setattr("os.readlink", lambda path: one.give_back("1") or os.stat(path))
        assert other.take("1", ["a"]) == ("a",)
