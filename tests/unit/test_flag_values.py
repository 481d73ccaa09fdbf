import argparse

import pytest

from brain_activity_prediction.cli import flag_values


@pytest.mark.parametrize("text", ["", ",", "x", "3-1", "-1", "1.5", "1-", "1,,2", ",1", "1,x", "1;2", "99999999999"])
def test_what_is_no_number_list_or_range_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="neither a number, a list like 1,2,3 nor a range like 1-9"):
        flag_values.number_list(text)


@pytest.mark.parametrize(
    ("text", "numbers"), [("3", [3]), ("1,2,3", [1, 2, 3]), ("1-37", list(range(1, 38))), ("2,5-7", [2, 5, 6, 7])]
)
def test_numbers_are_read_as_lists_and_ranges_with_commas(text, numbers):
    assert flag_values.number_list(text) == numbers
    assert flag_values.number_list(text + ",") == numbers


def test_sessions_are_counted_from_1():
    assert flag_values.positive_number_list("1-3") == [1, 2, 3]
    with pytest.raises(argparse.ArgumentTypeError, match="from 1"):
        flag_values.positive_number_list("0-3")


@pytest.mark.parametrize("text", ["1,2", "1-2", "sub-01,sub-02"])
def test_a_list_where_one_subject_is_taken_is_refused_as_such(text):
    with pytest.raises(argparse.ArgumentTypeError, match="run this script once for each"):
        flag_values.one_subject(text)


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", ""])
def test_a_count_must_be_a_whole_number_above_0(text):
    with pytest.raises(argparse.ArgumentTypeError):
        flag_values.positive_int(text)


def test_a_gpu_is_named_by_its_number():
    assert flag_values.gpu_id("1") == "cuda:1"
    assert flag_values.gpu_id("cpu") == "cpu"
    with pytest.raises(argparse.ArgumentTypeError):
        flag_values.gpu_id("first")


def test_a_shard_is_one_of_several_counted_from_0():
    assert flag_values.shard("0/4") == (0, 4)
    for text in ("4/4", "1", "-1/4", "1/0", "a/b", "1/2/3"):
        with pytest.raises(argparse.ArgumentTypeError):
            flag_values.shard(text)


@pytest.mark.parametrize("text", ["-0.1", "1", "nan", "inf", "x", ""])
def test_a_share_must_be_a_number_from_0_to_below_1(text):
    assert flag_values.share("0.25") == 0.25
    with pytest.raises(argparse.ArgumentTypeError):
        flag_values.share(text)


@pytest.mark.parametrize("text", ["-1", "x", "1.5", ""])
def test_how_many_permutations_must_be_a_whole_number_from_0(text):
    assert flag_values.non_negative_int("0") == 0
    with pytest.raises(argparse.ArgumentTypeError):
        flag_values.non_negative_int(text)


@pytest.mark.parametrize("text", ["5", "5:00", "0:05:00", "0-1", "1-0:05", "2-00:00:00", "0", "UNLIMITED", "infinite"])
def test_a_time_limit_is_written_as_for_slurm_and_passed_on_as_it_is(text):
    assert flag_values.time_limit(text) == text


@pytest.mark.parametrize(
    "text", ["4", "4:59", "0:04:59", "0-0:04", "0-0:04:59", "12h", "1-", "-1", "1:2:3:4", "", "٣٣"]
)
def test_a_time_limit_under_five_minutes_or_in_another_form_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        flag_values.time_limit(text)


def test_gpus_are_numbers_each_once_or_the_cpu():
    assert flag_values.gpu_ids("0,2,0") == ["0", "2"]
    assert flag_values.gpu_ids("cpu") == ["cpu"]
    for text in ("", "0,", "cpu,0", "first", "٣", "1" * 10):  # the last are decimal digits, but no GPU's number
        with pytest.raises(argparse.ArgumentTypeError):
            flag_values.gpu_ids(text)


@pytest.mark.parametrize(
    ("read", "most", "said"),
    [
        (flag_values.bootstrap_count, 100_000, "3 GB of memory with 1000 test images"),
        (flag_values.permutation_count, 1_000_000, "more would take too much time and memory"),
        (flag_values.worker_count, 1024, "from 1 to 1024"),
    ],
)
def test_a_number_that_no_machine_has_the_memory_for_is_refused_with_its_cost(read, most, said):
    assert read(str(most)) == most
    for text in (str(most + 1), "999999999", "-1", "1e3"):
        with pytest.raises(argparse.ArgumentTypeError, match=said):
            read(text)


def test_a_batch_size_is_a_number_or_auto():
    assert flag_values.batch_size("auto") == "auto"
    assert flag_values.batch_size("16") == 16
    for text in ("0", "-1", "Auto", "", "1.5"):
        with pytest.raises(argparse.ArgumentTypeError):
            flag_values.batch_size(text)
