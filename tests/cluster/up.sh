#!/bin/bash
# A Slurm cluster of two nodes on this machine, for tests. As root, with slurmctld, slurmd and munged installed
# (Debian: apt-get install --no-install-recommends slurm-wlm munge).
#   up.sh FOLDER PORT    everything lies in FOLDER; nothing in /etc is touched; use it with SLURM_CONF=FOLDER/slurm.conf
set -euo pipefail
D=$1 PORT=$2 H=$(hostname -s)
mkdir -p "$D/state" "$D/n1" "$D/n2"
dd if=/dev/urandom of="$D/munge.key" bs=128 count=8 status=none
chown munge: "$D" "$D/munge.key"; chmod 711 "$D"; chmod 400 "$D/munge.key"
runuser -u munge -- munged --key-file="$D/munge.key" --socket="$D/munge.socket" --pid-file="$D/munged.pid" \
  --log-file="$D/munged.log" --seed-file="$D/munge.seed" --force
cat > "$D/slurm.conf" <<C
ClusterName=nbkit
SlurmctldHost=$H(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$D/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/%n
SlurmctldPidFile=$D/slurmctld.pid
SlurmdPidFile=$D/slurmd.%n.pid
SlurmctldLogFile=$D/slurmctld.log
SlurmdLogFile=$D/slurmd.%n.log
KillWait=5
NodeName=n1 NodeHostname=$H NodeAddr=127.0.0.1 Port=$((PORT + 1)) CPUs=1 RealMemory=2000 State=UNKNOWN
NodeName=n2 NodeHostname=$H NodeAddr=127.0.0.1 Port=$((PORT + 2)) CPUs=1 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
C
export SLURM_CONF=$D/slurm.conf
slurmctld
slurmd -N n1
slurmd -N n2
for _ in $(seq 60); do
  [ "$(sinfo -h -N -o %T | sort -u)" = idle ] && exit 0
  sleep 0.5
done
sinfo -N >&2
tail -n 20 "$D/slurmctld.log" "$D"/slurmd.*.log >&2
exit 1
