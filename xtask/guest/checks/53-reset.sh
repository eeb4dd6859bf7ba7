shipway down app
shipway cluster reset
no_links() { ! ip -o link | grep -v "lo:"; }
await no_links
[ -z "$(find /sys/fs/cgroup -name 'shipway*')" ] || { find /sys/fs/cgroup -name 'shipway*'; exit 1; }
refused grep 'shipway\|overlay' /proc/mounts
# A module that no rule uses has no user: the tables are gone.
lsmod | grep '^nft_\|^nf_tables'
lsmod | awk '$1 == "nft_masq" || $1 == "nft_chain_nat" || $1 == "nft_ct" { used += $3 } END { exit used }'
[ -z "$(pidof shipway)" ]
