# Nothing but the bridge is left of containers that have ended.
[ -z "$(shipway ps -aq)" ]
[ -z "$(find /sys/fs/cgroup -name 'shipway*')" ] || { find /sys/fs/cgroup -name 'shipway*'; exit 1; }
refused grep overlay /proc/mounts
