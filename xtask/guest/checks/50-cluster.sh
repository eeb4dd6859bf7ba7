shipway cluster start
shipway cluster status
cat >app/shipway.toml <<-END
	name = "page"
	port = 8080
END
shipway up -d app || { cat /run/shipway/cluster/*.log | tail -40; exit 1; }
await wget -qO- http://127.0.0.1:8080/
[ "$(wget -qO- http://127.0.0.1:8080/)" = "the page" ]
