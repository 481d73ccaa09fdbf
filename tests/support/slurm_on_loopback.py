"""A real SLURM on 127.0.0.1 for tests. Controller, nodes and key daemon are processes that are ended by their ids.

All its files are in a new folder in the system's temporary folder, its ports are free ones, and clients find it by
SLURM_CONF, so that a SLURM that is configured on this machine is not affected. GPUs are simulated by files that SLURM
counts and assigns by number. Needs Debian's slurmctld, slurmd, slurm-client and munge, and root, as slurmd runs jobs as
root.
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged", "munge")
CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=50000
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
ReturnToService=1
SlurmdTimeout={seconds_to_notice_a_dead_node}
MessageTimeout=60
TCPTimeout=60
MaxArraySize={largest_array}
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=gpu Nodes=ALL Default=YES
PartitionName=graceful Nodes=ALL GraceTime=120
PartitionName=urgent Nodes=ALL PriorityTier=2
"""


def why_not() -> str | None:
    """Return the reason why SLURM cannot be started here, or None."""
    missing = [program for program in PROGRAMS if _find(program) is None]
    if missing:
        packages = "slurmctld slurmd slurm-client munge"
        return f"no {', '.join(missing)}: apt-get install --no-install-recommends {packages}"
    if os.geteuid() != 0:
        return "SLURM's test nodes are started by root only"
    if "SLURM_CONF" in os.environ or "SLURM_JOB_ID" in os.environ or Path("/etc/slurm/slurm.conf").exists():
        return "a SLURM is configured on this machine, and tests leave it alone"
    return None


class Slurm:
    """A cluster of nodes n1, n2, ... with two cores and two pretend GPUs each; use it in a `with` block."""

    def __init__(self, n_nodes: int = 3, gpus_a_node: int = 2, largest_array: int = 1001):
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short, as a socket's path must be
        self.n_nodes, self.gpus_a_node, self.largest_array = n_nodes, gpus_a_node, largest_array
        self.processes: dict[str, subprocess.Popen] = {}
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self):
        try:
            self._configure()
            self._start("munged", *self._munged())
            self._until(lambda: self._ask("munge", "-n", "-S", self.folder / "munge.socket") is not None, "munged", 60)
            self._start("slurmctld", "slurmctld", "-D")
            for number in range(1, self.n_nodes + 1):
                self.start_node(number)
            self._until(
                lambda: len(set((self._ask("sinfo", "-hNtidle", "-o%N") or "").splitlines())) == self.n_nodes,
                "sinfo",
                120,
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if "slurmctld" in self.processes:
            self._ask("scancel", "-f", "-u", "root")
            with suppress(TimeoutError):
                self._until(lambda: not self._ask("squeue", "-h"), "squeue", 10)
        for name in reversed(list(self.processes)):
            process = self.processes.pop(name)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_node(self, number: int) -> None:
        (self.folder / f"spool-n{number}").mkdir(exist_ok=True)
        self._start(f"n{number}", "slurmd", "-D", "-N", f"n{number}")

    def kill_node(self, number: int) -> None:
        """End a node as a power cut would: its slurmd, its jobs and their monitors, all at once."""
        daemon = self.processes.pop(f"n{number}")
        daemon.kill()
        daemon.wait()
        mark = f"SLURMD_NODENAME=n{number}".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, IndexError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                    if Path(f"/proc/{parent}/comm").read_text().strip() == "slurmstepd":
                        os.kill(int(parent), signal.SIGKILL)
                    os.kill(int(entry.name), signal.SIGKILL)

    def run(self, *command) -> str:
        """Run a client of SLURM, such as scancel, and return its output; it must succeed."""
        done = subprocess.run(
            [*map(str, command)], env=os.environ | self.environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def log(self) -> str:
        """Return the last lines of the output of its processes."""
        return "\n".join(
            f"{path.name}: {line}"
            for path in sorted(self.folder.glob("*.log"))
            for line in path.read_text().splitlines()[-8:]
        )

    def _configure(self) -> None:
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        gpus = [self.folder / f"gpu{number}" for number in range(self.gpus_a_node)]
        for gpu in gpus:
            os.mknod(gpu, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        ports = free_ports(1 + self.n_nodes)
        host = socket.gethostname().split(".")[0]
        nodes = "\n".join(
            f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 "
            f"Gres=gpu:{self.gpus_a_node}"
            for number, port in enumerate(ports[1:], 1)
        )
        (self.folder / "gres.conf").write_text(
            f"NodeName=n[1-{self.n_nodes}] Name=gpu File={self.folder}/gpu[0-{self.gpus_a_node - 1}]\n"
        )
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host,
                ports=ports,
                folder=self.folder,
                nodes=nodes,
                seconds_to_notice_a_dead_node=10,
                largest_array=self.largest_array,
            )
        )

    def _munged(self) -> list:
        folder = self.folder
        return [
            *("munged", "--foreground", "--force", f"--key-file={folder}/munge.key"),
            *(f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid"),
            *(f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"),
        ]

    def _start(self, name: str, program: str, *flags: str) -> None:
        with (self.folder / f"{name}.out.log").open("a") as out:
            self.processes[name] = subprocess.Popen(
                [_find(program), *flags],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _ask(self, *command) -> str | None:
        """Return the output of a client, or None if it fails."""
        try:
            return self.run(*command)
        except (AssertionError, subprocess.TimeoutExpired):
            return None

    def _until(self, ready, what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes.values()):
                raise TimeoutError(f"SLURM did not start ({what}):\n{self.log()}")
            time.sleep(0.1)


def free_ports(n: int) -> list[int]:
    """Return free ports."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
