#!/bin/sh
# OpenSSH's programs, as far as they need no server. Prints the same text each time.
cd "$(mktemp -d)" || exit 1
trap 'rm -rf "$PWD"' EXIT
export HOME="$PWD" LC_ALL=C
ssh-keygen -q -t ed25519 -N '' -C comment -f key
ssh-keygen -q -t ecdsa -N secret -f locked
ssh-keygen -y -f key >again.pub
cmp key.pub again.pub && echo same key
ssh-keygen -l -f key.pub | cut -d' ' -f1,3-
ssh-keygen -y -P wrong -f locked 2>/dev/null
echo "wrong passphrase $?"
echo text >file
cp file copy
ssh-keygen -q -Y sign -n file -f key file 2>/dev/null
echo "me $(cut -d' ' -f1,2 key.pub)" >signers
ssh-keygen -q -Y verify -n file -I me -f signers -s file.sig <copy
echo "verified $?"
echo other | ssh-keygen -q -Y verify -n file -I me -f signers -s file.sig 2>/dev/null
echo "forged $?"
ssh-agent sh -c 'ssh-add -q key && ssh-add -l | cut -d" " -f1,3- && ssh-add -q -D && ssh-add -l'
echo "agent $?"
ssh -F none -G user@example.org | grep -E '^(user|hostname|port) '
for proxy in 'echo no banner' 'exit 3' 'cat >/dev/null </dev/null'; do
	ssh -F none -o BatchMode=yes -o ProxyCommand="$proxy" example.org true >/dev/null 2>&1
	echo "proxy $?"
done
ssh -F none -o BatchMode=yes -o ConnectTimeout=2 -p 1 127.0.0.1 true 2>/dev/null
echo "refused $?"
