[ "$(shipway run --rm app cat /www/copy)" = "the page" ]
code=0
shipway run --rm app sh -c 'exit 7' || code=$?
[ $code = 7 ]
# The container sees its own group as the root, and cannot write to it.
[ "$(shipway run --rm app cat /proc/self/cgroup)" = "0::/" ]
shipway run --rm app cat /sys/fs/cgroup/cgroup.controllers | grep -w pids
refused shipway run --rm app mkdir /sys/fs/cgroup/mine
# The program in memory, or in an overlay: nothing that the container could write to.
shipway run --rm --read-only app sh -c '! touch /file'
