/* CLinux is header-only; a package target needs one source file. */
