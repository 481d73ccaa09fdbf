"""Report errors of model libraries in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from brain_activity_prediction.runtime.errors import InputError, is_out_of_memory, one_line

LONGEST_REASON = 300
BELONG_TOGETHER = "check that the checkpoint, its processor and its tokenizer belong together and to this script"


class LibraryError(InputError):
    """An exception of a model library, told in one line.

    failure  what failed and why, without what to do
    """

    def __init__(self, failure: str, remedy: str):
        super().__init__(f"{failure}: {remedy}")
        self.failure = failure


@contextmanager
def guarded(what: str, remedy: str = BELONG_TOGETHER) -> Iterator[None]:
    """Turn any exception of a model library into a LibraryError of one line: what failed, why, and what to do.

    All exceptions are caught, because each library raises its own for a wrong checkpoint. Put only the library's own
    calls into the `with` block. Running out of memory is not converted: the caller must handle it.

    what  description of the failure, such as "LlavaForConditionalGeneration could not compute image 71"
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = one_line(" ".join(str(error).split()))[:LONGEST_REASON]
        raise LibraryError(f"{what} ({type(error).__name__}: {reason})", remedy) from error
