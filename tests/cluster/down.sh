#!/bin/bash
# Ends what up.sh started in FOLDER.
D=$1
for name in slurmd.n1 slurmd.n2 slurmctld munged; do
  [ -e "$D/$name.pid" ] && kill "$(cat "$D/$name.pid")"
done
sleep 1
for name in slurmd.n1 slurmd.n2 slurmctld; do
  [ -e "$D/$name.pid" ] && kill -9 "$(cat "$D/$name.pid")" 2>/dev/null
done
exit 0
