"""The memory that batches of growing size take, and whether a batch of twice the size fits."""

import os
import resource

USABLE = 0.9  # part of the free memory that may be used


def device_name(device: str) -> str:
    """Return the name of a GPU, or `cpu` with the number of torch's threads."""
    import torch

    if device == "cpu":
        return f"cpu, {torch.get_num_threads()} threads"
    return torch.cuda.get_device_name(device)


class Memory:
    """The peaks of memory, in bytes, after the last two batches on a device."""

    def __init__(self, device: str):
        self.device = device
        self.peaks = [peak(device)]

    def measure(self) -> None:
        """Record the peak after a batch."""
        self.peaks.append(peak(self.device))

    def holds_double(self) -> bool:
        """Return whether memory is likely to hold twice the last batch, which grows by twice the last growth."""
        growth = self.peaks[-1] - self.peaks[-2] if len(self.peaks) > 1 else 0
        return 2 * growth < USABLE * free(self.device)


def peak(device: str) -> int:
    """Return the largest number of bytes that this process has taken on a device."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    import torch

    return torch.cuda.max_memory_allocated(device)


def free(device: str) -> int:
    """Return the number of bytes above the peak that are free on a device."""
    if device == "cpu":
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    import torch

    unused, _ = torch.cuda.mem_get_info(device)
    return unused + torch.cuda.memory_reserved(device) - peak(device)
