# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the tests of dvmm's outside share; sourced, in the build directory. DVMM names the program (default: ./dvmm); the
# payload guests are those that `make check` has built. Afterwards the current directory is an empty one of our own, which
# goes away with us, as does every process that was started with `guest`.

test=$(realpath "$0")
DVMM=$(realpath "${DVMM:-./dvmm}")
EMULATOR=$(dirname "$DVMM")/dvmm-emulator
helpers=$PWD/tests/cli
guests=$PWD/tests/guests
failed=0
pids=
sanitized= # sanitizers leave the emulator its standard error, keep more open, and have no limits
grep -q __asan_init "$DVMM" && sanitized=1

skip()
{
	echo "SKIP: $*"
	exit 77
}

fail()
{
	echo "FAIL: $*"
	failed=1
}

clean_up()
{
	for pid in $pids; do
		kill -s KILL "$pid" 2>/dev/null
	done
	cd /
	rm -rf "$scratch"
}

# Succeeds as soon as the command does, fails if it has not within 10 s.
eventually()
{
	tries=0
	until "$@"; do
		[ $tries -lt 200 ] || return 1
		tries=$((tries + 1))
		sleep 0.05
	done
}

gone() { ! kill -0 "$1" 2>/dev/null; }

# Starts dvmm in the background and waits until its guest has printed something. Sets $pid; output is in `printed`, messages
# in `log`.
guest()
{
	: >printed
	"$DVMM" "$@" </dev/null >printed 2>log &
	pid=$!
	pids="$pids $pid"
	eventually test -s printed || fail "the guest has not started: dvmm $*: $(cat log)"
}

# Waits for the end of dvmm, and kills it if there is none. Sets $got to its exit status.
finish()
{
	eventually ended "$1" || fail "dvmm has not ended"
	kill -s KILL "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	got=$?
}

# A child that has ended is a zombie until it is waited for.
ended() { gone "$1" || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# The one child of a process, and the emulator that dvmm's one child, the spawner, has started first.
emulator_of()
{
	child_of "$(child_of "$1")"
}
child_of()
{
	for status in /proc/[0-9]*/status; do
		grep -q "^PPid:[[:space:]]*$1\$" "$status" 2>/dev/null || continue
		status=${status#/proc/}
		echo "${status%/status}"
		return
	done
}

# emulators PID: the ids of all processes under this one that are a dvmm-emulator. Such a process has no children.
emulators()
{
	for task in /proc/"$1"/task/*/children; do
		children=
		read -r children <"$task" 2>/dev/null
		for child in $children; do
			comm=
			read -r comm <"/proc/$child/comm" 2>/dev/null
			if [ "$comm" = dvmm-emulator ]; then
				echo "$child"
			else
				(emulators "$child")
			fi
		done
	done 2>/dev/null
}

[ -x "$DVMM" ] || { echo "FAIL: there is no program $DVMM"; exit 1; }
{ : <>/dev/kvm; } 2>/dev/null || skip "/dev/kvm cannot be opened"
scratch=$(mktemp -d) || exit 1
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
cd "$scratch" || exit 1
