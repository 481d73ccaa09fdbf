"""Check that a device exists: the CPU, or a GPU that the NVIDIA driver lists."""

import ctypes
import os
import sys

from brain_activity_prediction.runtime.errors import InputError


def check_device(name: str) -> None:
    """Raise InputError if this machine lacks the device, such as `cuda:1`.

    The driver is called directly, because importing torch takes seconds.
    """
    if name == "cpu" or os.path.exists("/dev/kfd"):  # an AMD card: torch itself reports a missing one
        return
    try:
        driver = ctypes.CDLL("libcuda.so.1" if sys.platform == "linux" else "nvcuda")
    except OSError:
        raise InputError(f"no NVIDIA driver on this machine, so no GPU {name[5:]}: use -g cpu") from None
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        raise InputError(f"no usable GPU on this machine, so no GPU {name[5:]}: use -g cpu")
    if int(name[5:]) >= count.value:
        raise InputError(f"GPU {name[5:]} does not exist: this process sees {count.value}, numbered from 0")
