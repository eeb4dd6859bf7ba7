# Only version 2 of control groups, with its controllers.
grep -q 'cgroup2 /sys/fs/cgroup\|/sys/fs/cgroup cgroup2' /proc/mounts
refused grep -q ' cgroup ' /proc/mounts
for controller in cpu memory pids; do grep -qw $controller /sys/fs/cgroup/cgroup.controllers; done
shipway version
