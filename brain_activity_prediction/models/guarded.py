"""Errors of model libraries as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from brain_activity_prediction.runtime.errors import InputError, is_out_of_memory, one_line

LONGEST_REASON = 300


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn any exception of a model or processor into an InputError that says what failed and why.

    Every kind of exception is caught, since each library raises its own for a wrong checkpoint. Keep the block down to
    the model's own calls. Running out of memory is left to the caller.

    what  what failed, such as "LlavaForConditionalGeneration could not compute image 71"
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
