"""Run a script's main function; if it does not complete, end with one line on stderr and an exit status."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from brain_activity_prediction.ridge import RidgeInputError
from brain_activity_prediction.runtime.errors import InputError, is_out_of_memory, one_line
from brain_activity_prediction.runtime.messages import show_messages
from brain_activity_prediction.runtime.stopping import CONTINUE, STOPPED, Stopped, stopped_at_once, stopped_line


def progress_seconds() -> float:
    """Return the seconds between updates of a progress bar: short on a screen, long in a log file."""
    return 0.2 if sys.stderr.isatty() else float(os.environ.get("PROGRESS_SECONDS", 30))


def fill(progress: Any) -> None:
    """Complete a tqdm progress bar at the end; it has not counted the work of other processes."""
    progress.update(progress.total - progress.n)


def run_script(main: Callable[[], None]) -> NoReturn:
    """Call a script's main and end the process, with one line on stderr if main did not complete.

    Status 2 means a mistake of the user, a broken file, a full disk, or too little memory. STOPPED means that a signal
    ended the script between two steps or outside of steps; all finished steps are kept.
    """
    script = Path(sys.argv[0]).name
    show_messages()
    try:
        with stopped_at_once():
            main()
            sys.stdout.flush()
    except (InputError, RidgeInputError) as error:
        print(one_line(f"{script}: {error}"), file=sys.stderr)
        sys.exit(2)
    except Stopped as signal_name:
        print(stopped_line(str(signal_name)), file=sys.stderr)
        sys.exit(STOPPED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # takes what Python flushes at exit
        print(f"{script}: the program that reads its output, such as head, has ended", file=sys.stderr)
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:  # of the disk: library errors about the content of a file are InputErrors by now
        if error.filename is None:
            raise
        print(one_line(f"{script}: {error.filename}: {error.strerror}; check path and permissions"), file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or ["the system gave no reason"])[0]
        remedy = f"all that was finished is kept; free memory or request less, then {CONTINUE}"
        print(one_line(f"{script}: out of memory ({reason}); {remedy}"), file=sys.stderr)
        sys.exit(2)
    sys.exit(0)
