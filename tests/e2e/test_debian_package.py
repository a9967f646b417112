"""The Debian package: built, installed into a copy of this system that nobody else sees, run there, and purged."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSIDE = r"""
set -eu
mount -t tmpfs none "$OVERLAY"
mkdir "$OVERLAY/upper" "$OVERLAY/work" "$OVERLAY/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$OVERLAY/upper,workdir=$OVERLAY/work" "$OVERLAY/root"
mount --bind /proc "$OVERLAY/root/proc"
mount --bind /dev "$OVERLAY/root/dev"
cp "$PACKAGE" "$OVERLAY/root/package.deb"
cat >"$OVERLAY/root/steps" <<'STEPS'
set -eu
cd /
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
dpkg --install /package.deb
stat -c '%U:%G %a %n' /etc/outbound-guard /etc/outbound-guard/outbound-guard.toml /etc/outbound-guard/policy \
    /etc/outbound-guard/policy/policy.toml /var/lib/outbound-guard
dpkg-query --showformat '${Conffiles}\n' --show outbound-guard
sed -i 's|^address = "127.0.0.1:2525"|address = "127.0.0.1:0"|' /etc/outbound-guard/outbound-guard.toml
cat >>/etc/outbound-guard/outbound-guard.toml <<'MORE'
[console]
address = "127.0.0.1:0"
[metrics]
address = "127.0.0.1:0"
MORE
as='setpriv --reuid outbound-guard --regid outbound-guard --clear-groups --no-new-privs'
$as /usr/bin/outbound-guard check-config --config /etc/outbound-guard/outbound-guard.toml
$as /usr/bin/outbound-guard serve --config /etc/outbound-guard/outbound-guard.toml >/said 2>&1 &
serving=$!
trap 'kill $serving 2>/dev/null || :' EXIT
tries=600
while [ ! -e /var/lib/outbound-guard/run/addresses.json ]; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] && kill -0 $serving || { cat /said; exit 1; }
    sleep 0.1
done
echo "user $(ps -o user:20= -p $serving)"
# An update over it while it runs: what was changed by hand stays.
dpkg --install /package.deb
grep -c '127.0.0.1:0' /etc/outbound-guard/outbound-guard.toml
kill $serving
wait $serving
echo "served and stopped"
dpkg --purge outbound-guard
[ ! -e /opt/outbound-guard ] && [ ! -e /etc/outbound-guard ] && echo "the program is gone"
[ -e /var/lib/outbound-guard/ledger.sqlite3 ] && echo "the ledger is not"
STEPS
exec chroot "$OVERLAY/root" /bin/sh /steps
"""


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may install packages")
@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="this is no Debian")
def test_the_package_installs_serves_updates_and_goes(tmp_path: Path) -> None:
    built = subprocess.run([ROOT / "scripts/deb", tmp_path], capture_output=True, text=True)
    if "is not Python 3" in built.stderr:
        pytest.skip(built.stderr)
    assert built.returncode == 0, built.stderr
    package = Path(built.stdout.split("\n")[-2])
    (tmp_path / "overlay").mkdir()
    # A mount namespace of its own: all that is done to the file system vanishes with it.
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", INSIDE],
        env={**os.environ, "OVERLAY": str(tmp_path / "overlay"), "PACKAGE": str(package)},
        capture_output=True,
        text=True,
    )
    if "mount:" in done.stderr and not done.stdout:
        pytest.skip(f"no file system can be laid over this one: {done.stderr}")
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    assert "installed and not started" in said
    for line in (
        "root:outbound-guard 750 /etc/outbound-guard",
        "root:outbound-guard 640 /etc/outbound-guard/outbound-guard.toml",
        "outbound-guard:outbound-guard 750 /etc/outbound-guard/policy",
        "outbound-guard:outbound-guard 640 /etc/outbound-guard/policy/policy.toml",
        "outbound-guard:outbound-guard 700 /var/lib/outbound-guard",
        "ok",
        "user outbound-guard",
        "3",
        "served and stopped",
        "the program is gone",
        "the ledger is not",
    ):
        assert line in said.split("\n"), said
    assert " /etc/outbound-guard/outbound-guard.toml " in said
    assert "still in /var/lib/outbound-guard" in said
    assert not Path("/opt/outbound-guard/.venv").exists() or (ROOT / ".venv").samefile("/opt/outbound-guard/.venv")
