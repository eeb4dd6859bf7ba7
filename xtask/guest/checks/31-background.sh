id=$(shipway run -d --name web -p 18080:8080 app sh -c 'echo started; exec httpd -f -p 8080 -h /www')
[ "$(wget -qO- http://127.0.0.1:18080/)" = "the page" ]
[ "$(shipway exec web hostname)" = "$(echo "$id" | cut -c1-12)" ]
[ "$(shipway exec web cat /proc/self/cgroup)" = "0::/" ]
shipway logs web | grep started
shipway ps | grep web
# The container's processes are in a group of their own, below one that has none.
group=$(echo /sys/fs/cgroup/shipway-*/"$id")
[ -z "$(cat "$(dirname "$group")"/cgroup.procs)" ]
first=$(head -1 "$group"/cgroup.procs)
# Its keeper runs from an overlay that cannot be written to, not from the host's file and not from memory.
keeper=$(sed -n 's/^PPid:\t//p' /proc/"$first"/status)
stat -f -L -c 'program of the keeper: %t' /proc/"$keeper"/exe
[ "$(stat -f -L -c %t /proc/"$keeper"/exe)" = 794c7630 ]
shipway stop -t 1 web
shipway rm web
