"""sbatch, squeue and scontrol as scripts: jobs run at once, one after the other, as they are submitted."""

from pathlib import Path

SBATCH = """#!/bin/bash
# sbatch [--parsable] [--dependency=KIND:ID] [--kill-on-invalid-dep=yes] FILE
for last; do :; done
if grep -q "partition=nowhere" "$last"; then
  echo "sbatch: error: invalid partition specified: nowhere" >&2
  exit 1
fi
id=$(( $(cat FOLDER/next 2>/dev/null || echo 100) + 1 ))
echo $id > FOLDER/next
echo "$id $*" >> FOLDER/calls
log=$(sed -n 's/^#SBATCH --output=//p' "$last")
before=$(printf '%s\\n' "$@" | sed -n 's/--dependency=afterok://p')
if [ -z "$before" ] || [ "$(cat FOLDER/rc.$before)" = 0 ]; then
  SLURM_JOB_ID=$id SLURM_JOB_NODELIST=n1 bash "$last" >> "$log" 2>&1
  echo $? > FOLDER/rc.$id
else
  echo killed > FOLDER/rc.$id
fi
echo "$id;cluster"
"""
SQUEUE = """#!/bin/bash
cat FOLDER/queue 2>/dev/null || true
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" >> FOLDER/calls
"""


def install(folder: Path, monkeypatch) -> Path:
    """Put the scripts first in PATH; returns the folder of their notes: `calls`, and `queue`, which squeue
    prints."""
    binaries = folder / "bin"
    binaries.mkdir(parents=True)
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scontrol", SCONTROL)):
        path = binaries / name
        path.write_text(text.replace("FOLDER", f"'{folder}'"))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(binaries), prepend=":")
    return folder
