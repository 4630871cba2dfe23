#!/bin/sh
# Make with a jobserver that sub-makes share. Prints the same text each time.
# The tests may have been started by make.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
cd "$(mktemp -d)" || exit 1
trap 'rm -rf "$PWD"' EXIT
cat >Makefile <<'END'
PARTS := $(foreach number,1 2 3 4 5 6 7 8 9 10 11 12,part$(number))
TEXT := $(shell echo text; exit 0)
all: $(PARTS) sub
	@cat $(PARTS) | sort -u
	@echo $(TEXT) $(.SHELLSTATUS)
part%:
	@echo made | tee $@ >/dev/null
	@echo $@
.PHONY: sub fails
sub: $(PARTS)
	+@for number in 1 2; do $(MAKE) --no-print-directory -f Makefile inner NUMBER=$$number; done
inner: inner-a inner-b
	@echo inner $(NUMBER)
inner-%:
	@echo $@ $(NUMBER)
fails:
	@echo fails; exit 4
END
make -j2 --output-sync=target all | sort
make -j2 all | sort
make -n -B all | wc -l
make -k fails missing 2>/dev/null
echo "status $?"
make -q part1
echo "status $?"
