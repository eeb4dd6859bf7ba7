id=$(shipway run -d --name web -p 18080:8080 app sh -c 'echo started; exec httpd -f -p 8080 -h /www')
[ "$(wget -qO- http://127.0.0.1:18080/)" = "the page" ]
[ "$(shipway exec web hostname)" = "$(echo "$id" | cut -c1-12)" ]
[ "$(shipway exec web cat /proc/self/cgroup)" = "0::/" ]
shipway logs web | grep started
shipway ps | grep web
# The container's group holds its processes; the keeper is in one of its own.
group=$(echo /sys/fs/cgroup/shipway-*/"$id")
[ -n "$(cat "$group"/cgroup.procs)" ]
[ -n "$(cat "$group".shim/cgroup.procs)" ]
[ -z "$(cat "$(dirname "$group")"/cgroup.procs)" ]
# What this kernel gives the keeper: an overlay (794c7630) or memory.
keeper=$(cat "$group".shim/cgroup.procs | head -1)
stat -f -L -c 'program of the keeper: %t' /proc/"$keeper"/exe
[ "$(stat -f -L -c %t /proc/"$keeper"/exe)" = 794c7630 ]
shipway stop -t 1 web
shipway rm web
