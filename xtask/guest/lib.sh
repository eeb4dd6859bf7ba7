# What the checks share. Each runs by itself, after the ones with lower numbers.
skip() {
	echo "skipped: $*"
	exit 77
}

fail() {
	echo "error: $*"
	exit 1
}

# Waits until a command succeeds, for at most a minute.
await() {
	for _ in $(seq 60); do
		"$@" >/tmp/awaited 2>&1 && return 0
		sleep 1
	done
	cat /tmp/awaited
	fail "waited in vain: $*"
}

refused() {
	if "$@"; then fail "this was allowed: $*"; fi
}

# An image with a shell and an HTTP server.
context() {
	mkdir -p /srv/app
	cp /bin/busybox /srv/app/
	echo "the page" >/srv/app/page
	cat >/srv/app/Dockerfile <<-END
		FROM scratch
		COPY busybox /bin/busybox
		RUN ["/bin/busybox", "--install", "-s", "/bin"]
		WORKDIR /www
		COPY page index.html
		RUN cat index.html > copy && mkdir -p empty && rm -r empty && mkdir empty
		EXPOSE 8080
		CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
	END
}
