# Each container that ends removes the group that all share, if it is empty: the others must not mind.
for number in $(seq 12); do
	(for _ in 1 2 3; do shipway run --rm --network none app true || exit; done; echo done >>many.done) >many.$number 2>&1 &
done
wait
[ "$(wc -l <many.done)" = 12 ] || { cat many.[0-9]*; exit 1; }
[ -z "$(find /sys/fs/cgroup -name 'shipway*')" ]
