# A stack of layers whose names would not fit into one page of mount options.
mkdir -p many
{
	echo "FROM app"
	for number in $(seq 90); do echo "COPY file-$number /www/"; done
	echo 'RUN ls /www | wc -l > /www/count'
} >many/Dockerfile
for number in $(seq 90); do echo $number >many/file-$number; done
shipway build --network none -t many many
[ "$(shipway run --rm many sh -c 'cat /www/file-1 /www/file-90; ls /www | wc -l' | tr '\n' ' ')" = "1 90 94 " ]
