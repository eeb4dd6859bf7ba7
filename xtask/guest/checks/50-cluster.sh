shipway cluster start
shipway cluster status
cat >app/shipway.toml <<-END
	name = "page"
	port = 8080
END
shipway up app >up.log 2>&1 </dev/null &
page() { [ "$(wget -qO- http://127.0.0.1:8080/)" = "the page" ]; }
await page || { cat up.log /run/shipway/default/cluster/daemon.log | tail -40; exit 1; }
kill -INT $!
wait || true
shipway up -d app
