which kubectl || skip "no kubectl"
export KUBECONFIG=$(shipway cluster kubeconfig --path)
cat >limits.yaml <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: limited}
	spec:
	  containers:
	  - name: c
	    image: app
	    imagePullPolicy: Never
	    command: [sleep, "1000"]
	    resources: {requests: {cpu: 100m}, limits: {memory: 64Mi, cpu: 250m}}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: greedy}
	spec:
	  restartPolicy: Never
	  containers:
	  - name: c
	    image: app
	    imagePullPolicy: Never
	    command: [sh, -c, "tail /dev/zero"]
	    resources: {limits: {memory: 16Mi}}
END
kubectl apply -f limits.yaml
kubectl wait --for=condition=Ready pod/limited --timeout=120s
uid=$(kubectl get pod limited -o jsonpath='{.metadata.uid}')
group=$(dirname "$(find /sys/fs/cgroup -path "*$uid*" -name cgroup.procs | grep -v 'shim\|pod[^/]*/cgroup.procs' | head -1)")
cat "$group/memory.max" "$group/cpu.max" "$group/cpu.weight" "$group/pids.max"
[ "$(cat "$group/memory.max")" = 67108864 ]
[ "$(cat "$group/cpu.max")" = "25000 100000" ]
ended() { [ "$(kubectl get pod greedy -o jsonpath='{.status.phase}')" = Failed ]; }
await ended
kubectl get pod greedy -o jsonpath='{.status.containerStatuses[0].state.terminated}' | tee state
grep -q '"exitCode":137' state
grep -q '"reason":"OOMKilled"' state
kubectl delete pod limited greedy --now
