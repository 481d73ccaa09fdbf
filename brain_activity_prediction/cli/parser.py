"""The argument parser of all scripts. Its errors are one line and suggest similar names; its help shows defaults."""

import argparse
import sys
from typing import NoReturn

from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.runtime.messages import show_messages
from brain_activity_prediction.runtime.wording import did_you_mean, near_names


class OneLineParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line that points to `--help`."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, one_line(f"{self.prog}: {message} (--help lists the flags)") + "\n")

    def parse_known_args(self, args=None, namespace=None):
        """Parse as argparse does, but report a misspelt flag before a missing one, which may be the same flag."""
        words = list(sys.argv[1:] if args is None else args)
        for word in self._read_args_from_files(words) if self.fromfile_prefix_chars else words:
            flag = word.partition("=")[0]
            if flag == "--":
                break
            if flag not in self._option_string_actions and (near := self._near_flags(flag)):
                self.error(f"there is no flag {flag}: did you mean {' or '.join(near)}?")
        return super().parse_known_args(args, namespace)

    def _near_flags(self, flag: str) -> list[str]:
        known = [name for name in self._option_string_actions if name.startswith("--")]
        if flag.startswith("--"):
            return near_names(flag, known)
        return [f"-{flag}"] if f"-{flag}" in known else []  # corrects -subject to --subject

    def parse_args(self, args=None, namespace=None) -> argparse.Namespace:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognised: {' '.join(unknown)}")
        return parsed

    def _check_value(self, action: argparse.Action, value) -> None:
        """Check each number of a list, and suggest similar choices."""
        for one in value if isinstance(value, list) else [value]:
            if action.choices is not None and one not in action.choices:
                choices = ", ".join(map(str, action.choices))
                like = did_you_mean(one, action.choices)
                raise argparse.ArgumentError(action, f"invalid choice: {one!r}{like}; choose from {choices}")


class Numbers(argparse.Action):
    """Argparse action that collects numbers, lists and ranges, such as 1 2,3 5-7, in one list without duplicates."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, list(dict.fromkeys(number for numbers in values for number in numbers)))


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help formatter that shows each default in the form in which a user types it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if default is None or default is False or default in ("", []) or "(default:" in action.help:
            return action.help
        if isinstance(default, list):
            return f"{action.help} (default: {' '.join(map(str, default))})"
        return super()._get_help_string(action)


class Verbosity(argparse.Action):
    """Argparse action that sets which messages are shown. It stores no value in the namespace."""

    def __call__(self, parser, namespace, values, option_string=None):
        show_messages(verbose="--verbose" in self.option_strings, quiet="--quiet" in self.option_strings)


def add_verbosity(flags: argparse.ArgumentParser) -> None:
    """Add the flags -v and -q. Results and errors are always shown."""
    settings = {"action": Verbosity, "nargs": 0, "dest": argparse.SUPPRESS, "default": argparse.SUPPRESS}
    flags.add_argument("-v", "--verbose", help="show details, such as every file that is written", **settings)
    flags.add_argument("-q", "--quiet", help="show only warnings and errors", **settings)
