"""One line for whatever goes wrong between a loaded model and its hidden states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from brain_activity_prediction.runtime.errors import InputError, is_out_of_memory, one_line

LONGEST_REASON = 300


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn whatever a model or a processor raises into an InputError that says what failed and why.

    A checkpoint of another size or architecture fails in its first forward in as many ways as there are libraries, so
    every kind is caught: keep the block down to the model's own calls. Running out of memory is left to the caller.

    what  such as "LlavaForConditionalGeneration could not compute image 71"
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = one_line(" ".join(str(error).split()))[:LONGEST_REASON]
        raise InputError(
            f"{what} ({type(error).__name__}: {reason}): check that the checkpoint, its processor and its "
            "tokenizer belong together and to this script"
        ) from error
