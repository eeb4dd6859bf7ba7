# As inside a container: the hierarchy's root is a group with processes in it, which may not pass controllers on.
inner=/sys/fs/cgroup/delegated
mkdir -p $inner
echo '+cpu +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
cat >inner.sh <<-END
	echo 0 >$inner/cgroup.procs
	mount --bind $inner /sys/fs/cgroup
	shipway run --rm app cat /www/copy
	shipway run --rm app cat /www/copy
	cat /proc/self/cgroup
END
[ "$(unshare -m sh -eu inner.sh | head -2 | tr '\n' ' ')" = "the page the page " ]
# What was in the way is in a group of its own; nothing of the containers is left.
find $inner -type d
[ "$(find $inner -mindepth 1 -type d)" = "$inner/init" ]
rmdir $inner/init $inner
