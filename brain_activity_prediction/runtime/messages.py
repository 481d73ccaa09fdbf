"""Messages to the user: one line each on stderr, through `logging`."""

import logging
import sys

log = logging.getLogger("brain_activity_prediction")


class ToStderr(logging.Handler):
    """Write each message as one line to `sys.stderr`, above any progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            if "tqdm" in sys.modules:
                sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
            else:
                print(line, file=sys.stderr, flush=True)
        except Exception:  # like every logging handler: a failed message must not end the work
            self.handleError(record)


def show_messages(verbose: bool = False, quiet: bool = False) -> None:
    """Show messages on stderr: with `quiet` only warnings, with `verbose` also details."""
    if not any(isinstance(handler, ToStderr) for handler in log.handlers):
        log.addHandler(ToStderr())
        log.propagate = False
    log.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
