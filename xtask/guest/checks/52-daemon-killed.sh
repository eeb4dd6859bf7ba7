# The daemon dies; its pods do not notice, and the next one takes them over.
containers() { find /sys/fs/cgroup -path '*shipway*' -path '*pod*' -name cgroup.procs | grep -v shim | xargs cat | sort; }
before=$(containers)
[ -n "$before" ]
pid=$(shipway cluster status | sed -n 's/.*(process \([0-9]*\)).*/\1/p')
kill -9 "$pid"
gone() { ! kill -0 "$pid"; }
await gone
shipway cluster start
shipway up -d app
[ "$(containers)" = "$before" ]
[ "$(shipway cluster status | sed -n 's/.*(process \([0-9]*\)).*/\1/p')" != "$pid" ]
