# Runs every check and every test program, and says how each went.
export PATH=/usr/bin:/bin HOME=/root TMPDIR=/tmp CI=
unset CI
chmod 1777 /tmp
ip link set lo up
hostname guest
echo 0 >/proc/sys/kernel/printk
echo "kernel $(uname -r)"
report() { # name, what it ended with, when it started
	result=failed
	[ "$2" = 0 ] && result=passed
	if [ "$2" = 77 ]; then
		echo "CHECK $1 skipped"
	else
		[ "$result" = failed ] && sed 's/^/| /' /tmp/log
		echo "CHECK $1 $result $(($(date +%s) - $3))"
	fi
}
for check in /checks/*; do
	[ -e "$check" ] || continue
	started=$(date +%s)
	(cd /srv && timeout 900 sh -eu -c '. /lib.sh; . "$0"' "$check") >/tmp/log 2>&1 </dev/null
	report "$(basename "$check" .sh)" $? "$started"
done
for test in /tests/*; do
	[ -e "$test" ] || continue
	started=$(date +%s)
	(cd /srv && timeout 3000 "$test" --test-threads=1 --nocapture) >/tmp/log 2>&1 </dev/null
	code=$?
	grep '^test result\|skipped: ' /tmp/log | sort | uniq -c
	report "$(basename "$test")" $code "$started"
done
echo CHECKS DONE
