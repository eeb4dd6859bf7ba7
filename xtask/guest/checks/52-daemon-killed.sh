containers() { find /sys/fs/cgroup -path '*shipway*' -path '*pod*' -name cgroup.procs | grep -v shim | xargs cat | sort; }
before=$(containers)
[ -n "$before" ]
pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/' /run/shipway/cluster/*.json | head -1)
kill -9 "$pid"
shipway cluster start
shipway up -d app
[ "$(containers)" = "$before" ]
[ "$(wget -qO- http://127.0.0.1:8080/)" = "the page" ]
