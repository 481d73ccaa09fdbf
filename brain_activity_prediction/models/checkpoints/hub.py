"""Find the commit of a model on the hub, with a single request, so that an unreachable hub is reported in seconds."""

import re
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError

COMMIT = re.compile("[0-9a-f]{40}")
PATIENCE_SECONDS = 10


def commit_on_hub(model_id: str, revision: str) -> tuple[str, bool]:
    """Return the commit of a revision (commit, tag or branch), and whether to use only files on this disk.

    If the hub does not answer, or HF_HUB_OFFLINE is set, the commit that was downloaded last is returned. Raises
    InputError if none was downloaded.
    """
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(model_id, revision=revision, timeout=PATIENCE_SECONDS).sha, False
    except Exception as error:  # the network, the hub and proxies raise many kinds of exceptions
        if commit := _commit_on_disk(model_id, revision):
            return commit, True
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{model_id} is not on this disk, and the hub does not give it ({reason}): on a machine with network, run "
            f"hf download {model_id} --revision {revision} --local-dir DIR, then use --checkpoint DIR here"
        ) from error


def fetched_folder(model_id: str, commit: str) -> Path | None:
    """Return the folder with the downloaded files of a commit; None if none are on this disk."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model_id, revision=commit, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return None


def _commit_on_disk(model_id: str, revision: str) -> str | None:
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return None
    kept = {
        name: revision.commit_hash
        for repository in repositories
        if (repository.repo_type, repository.repo_id) == ("model", model_id)
        for revision in repository.revisions
        for name in (revision.commit_hash, *revision.refs)
    }
    return kept.get(revision)
