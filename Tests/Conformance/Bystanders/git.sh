#!/bin/sh
# A repository's life: commits, clones, fetches, repacks. Prints the same text each time.
set -e
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
export HOME="$PWD" GIT_CONFIG_NOSYSTEM=1 LC_ALL=C
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_AUTHOR_DATE='2020-01-01T00:00:00Z'
export GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@example.org GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
git init -q -b main one
cd one
for number in 1 2 3 4 5 6; do
	seq $((number * 200)) >numbers
	echo "$number" >"file$number"
	git add .
	git commit -q -m "commit $number"
done
git checkout -q -b side HEAD~2
echo side >side
git add side
git commit -q -m side
git checkout -q main
git merge -q -m merge side
git log --oneline --graph --stat | cat
cd ..
git clone -q one two
git clone -q --bare "file://$PWD/one" three.git
git -C one tag -m tag v1
echo more >one/more
git -C one add more
git -C one commit -q -m more
git -C two fetch -q --tags
git -C two log --format='%H %s' origin/main | head -3
git -C two rebase -q origin/main
git -C two grep -c 1 -- numbers
git --git-dir=three.git fetch -q origin main:main
git --git-dir=three.git repack -adfq --threads=2
git --git-dir=three.git gc -q --prune=now
git --git-dir=three.git fsck --full --strict
git --git-dir=three.git count-objects | cut -d, -f1
git -C one bundle create -q ../bundle --all
git clone -q -b main bundle four
git -C four archive HEAD | cksum
git -C two push -q "file://$PWD/three.git" HEAD:refs/heads/pushed
git --git-dir=three.git for-each-ref
git -C one checkout -q nothing || echo "status $?"
