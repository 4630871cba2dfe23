#!/bin/bash
# Descriptors, children and jobs of a shell. Prints the same text each time.
# shellcheck disable=SC2005,SC2034,SC2093,SC2116,SC2320,SC1083 # what the script is about
cd "$(mktemp -d)" || exit 1
trap '[ $BASHPID != $$ ] || rm -rf "$PWD"' EXIT

echo "== descriptors"
exec 5>&1 {named}>named.txt
echo five >&5
echo named >&"$named"
exec {named}>&-
cat named.txt
exec 6<named.txt 7<&6 6<&-
read -r -u 7 line
echo "$line"
exec 7<&- 8>eight.txt 9>&8 8>&-
echo nine >&9
exec 9>&-
cat eight.txt
(exec 100>high.txt && echo high >&100 && exec 200>&100- && echo higher >&200) && cat high.txt
exec 5>&-
for fd in /proc/self/fd/*; do echo "${fd##*/}"; done | head -3

echo "== documents and strings"
cat <<END
here is a document
END
tr e E <<<"a here string"
seq 20000 | cat - <(echo tail) | tail -2
sort <(printf '3\n1\n') <(printf '2\n')
long=$(seq 30000)
echo "${#long}"

echo "== children"
(exit 3); echo "status $?"
set -o pipefail
false | true; echo "pipefail $?"
set +o pipefail
echo "nested $(echo "$(echo "$(echo deep)")")"
sh -c 'kill -TERM $$'; echo "killed $?"
mapfile -t words < <(printf 'one\ntwo\nthree\n')
echo "${#words[@]} ${words[2]}"
read -r -t 0.05 word < <(sleep 0.2); echo "timeout $((${?} > 128))"
yes | head -1
for i in 1 2 3 4 5 6 7 8; do (exit "$i") & pids[i]=$!; done
for i in 1 2 3 4 5 6 7 8; do wait "${pids[i]}"; echo -n "$? "; done; echo
env -i /bin/true; echo "env $?"
exec 4< <(:); cat <&4; exec 4<&-

echo "== coprocess"
coproc cat
child=$COPROC_PID
echo "to the coprocess" >&"${COPROC[1]}"
read -r answer <&"${COPROC[0]}"
echo "$answer"
exec {COPROC[1]}>&-
wait "$child"; echo "ended $?"

echo "== jobs"
set -m
sleep 10 &
until grep -q sleep "/proc/$!/comm"; do :; done
kill -STOP $!; wait $! 2>/dev/null; jobs -s | wc -l
kill -KILL $!; wait -f $! 2>/dev/null; echo "job $(($? > 128))"
bash -c 'read -r -t 0.05; exit 7' </dev/zero &
fg %% >/dev/null 2>&1; echo "foreground $?"
set +m
trap 'echo trapped' USR1
kill -USR1 $$
seen=0; trap 'seen=1' CHLD; /bin/true; trap - CHLD; echo "child $seen"
mkfifo pipe; (echo through the fifo >pipe) & cat pipe; wait
exec 3<>pipe; echo both ends >&3; read -r line <&3; echo "$line"; exec 3>&-
echo "none" >/dev/full; echo "full $?"
(exec echo replaced)
