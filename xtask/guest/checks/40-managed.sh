# From a service's group, as a manager that is not us makes them; what ends the service does not end the container.
service=/sys/fs/cgroup/system.slice/some.service
mkdir -p $service
sh -ec "echo 0 >$service/cgroup.procs; shipway run -d --name managed app sleep 1000"
[ -z "$(cat $service/cgroup.procs)" ]
group=$(dirname "$(find /sys/fs/cgroup/shipway-* -name cgroup.procs | grep shim)")
[ -n "$(cat "$group"/cgroup.procs)" ]
echo 1 >$service/cgroup.kill
shipway exec managed true
shipway rm -f managed
rmdir $service /sys/fs/cgroup/system.slice
[ -z "$(find /sys/fs/cgroup -name 'shipway*')" ]
