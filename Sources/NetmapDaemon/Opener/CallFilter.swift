internal import CLinux
internal import Glibc
package import NetmapCore

/// The system calls that the broker may make: a seccomp(2) filter for all of its threads.
///
/// The filter allows no call that opens a file, a socket of another kind or a network namespace,
/// starts a program or a process, signals another process, or makes memory executable. Calls that
/// only an attacker in control of the broker would try kill the broker. Any other call that is not
/// listed fails with `EPERM`.
package struct CallFilter {
  /// A condition on an argument: `argument & mask == value`.
  struct Condition {
    let argument: Int
    var mask: UInt32 = .max
    let value: UInt32
    /// The required high half of the argument; nil if it does not matter.
    var high: UInt32? = nil
  }

  /// The filter program, as the kernel takes it.
  private var program: [sock_filter] = []

  /// - Parameter process: The process that will install the filter: the only one that it may
  ///   signal, or whose memory it may read.
  package init(for process: Int32) {
    load(CLINUX_SECCOMP_ARCHITECTURE)
    program.append(Self.jump(BPF_JEQ, CLINUX_AUDIT_ARCHITECTURE, then: 1, otherwise: 0))
    give(CLINUX_SECCOMP_KILL)
    load(CLINUX_SECCOMP_CALL)
    program.append(Self.jump(BPF_JGE, CLINUX_FOREIGN_CALLS, then: 0, otherwise: 1))
    give(CLINUX_SECCOMP_KILL)
    for call in Self.allowed { allow(call) }
    restrict(process)
    for call in Self.fatal { answer(call, CLINUX_SECCOMP_KILL) }
    // ENOSYS makes the C library use clone instead: a filter cannot check the flags of clone3,
    // which are in memory.
    answer(CLINUX_CALL_clone3, CLINUX_SECCOMP_ERROR | UInt32(ENOSYS))
    give(CLINUX_SECCOMP_ERROR | UInt32(EPERM))
  }

  /// Installs the filter on all threads, irrevocably.
  ///
  /// The process must have set `no_new_privs`.
  ///
  /// - Throws: ``NetmapError`` with the `errno` of seccomp(2).
  package func install() throws(NetmapError) {
    var copy = program
    let result = unsafe copy.withUnsafeMutableBufferPointer { buffer in
      var program = unsafe sock_fprog(len: UInt16(buffer.count), filter: buffer.baseAddress)
      return unsafe clinux_seccomp(&program)
    }
    guard result == 0 else {
      if result > 0 { errno = ESRCH }
      throw systemError(
        "seccomp", "netmapd",
        remedy: "use a kernel with CONFIG_SECCOMP_FILTER, Linux 3.17 or later")
    }
  }

  // MARK: - Allowed calls

  /// The calls that carry packets come first, because the filter compares one call after the other.
  private static let allowed = [
    CLINUX_CALL_recvfrom, CLINUX_CALL_futex, CLINUX_CALL_poll,
    CLINUX_CALL_ppoll,
    CLINUX_CALL_epoll_wait, CLINUX_CALL_epoll_pwait, CLINUX_CALL_epoll_pwait2, CLINUX_CALL_read,
    CLINUX_CALL_write, CLINUX_CALL_clock_gettime, CLINUX_CALL_clock_nanosleep,
    CLINUX_CALL_nanosleep, CLINUX_CALL_getsockopt, CLINUX_CALL_recvmsg, CLINUX_CALL_sendmsg,
    CLINUX_CALL_pread64, CLINUX_CALL_readv, CLINUX_CALL_writev,
    // Descriptors.
    CLINUX_CALL_close, CLINUX_CALL_close_range, CLINUX_CALL_dup, CLINUX_CALL_dup3,
    CLINUX_CALL_eventfd2, CLINUX_CALL_epoll_create1, CLINUX_CALL_epoll_ctl, CLINUX_CALL_pipe2,
    CLINUX_CALL_pidfd_open, CLINUX_CALL_memfd_create, CLINUX_CALL_ftruncate, CLINUX_CALL_fallocate,
    CLINUX_CALL_fstat, CLINUX_CALL_newfstatat, CLINUX_CALL_lseek, CLINUX_CALL_readlink,
    CLINUX_CALL_readlinkat,
    // Sockets that the broker was given.
    CLINUX_CALL_accept, CLINUX_CALL_accept4, CLINUX_CALL_bind, CLINUX_CALL_setsockopt,
    CLINUX_CALL_getsockname, CLINUX_CALL_getpeername, CLINUX_CALL_shutdown,
    // Memory and threads.
    CLINUX_CALL_munmap, CLINUX_CALL_mremap, CLINUX_CALL_madvise, CLINUX_CALL_mincore,
    CLINUX_CALL_mlock, CLINUX_CALL_munlock, CLINUX_CALL_brk, CLINUX_CALL_membarrier,
    CLINUX_CALL_exit, CLINUX_CALL_exit_group, CLINUX_CALL_set_robust_list,
    CLINUX_CALL_set_tid_address, CLINUX_CALL_rseq, CLINUX_CALL_sched_yield,
    CLINUX_CALL_sched_getaffinity, CLINUX_CALL_sched_setaffinity, CLINUX_CALL_sigaltstack,
    CLINUX_CALL_rt_sigaction, CLINUX_CALL_rt_sigprocmask, CLINUX_CALL_rt_sigreturn,
    CLINUX_CALL_restart_syscall, CLINUX_CALL_getrandom, CLINUX_CALL_getcpu,
    // Identity and time.
    CLINUX_CALL_getpid, CLINUX_CALL_gettid, CLINUX_CALL_getuid, CLINUX_CALL_geteuid,
    CLINUX_CALL_getgid, CLINUX_CALL_getegid, CLINUX_CALL_uname, CLINUX_CALL_sysinfo,
    CLINUX_CALL_getrusage, CLINUX_CALL_time, CLINUX_CALL_gettimeofday, CLINUX_CALL_clock_getres,
  ]

  /// Calls that netmapd's code never makes once the filter is in force.
  ///
  /// They kill the broker.
  private static let fatal = [
    CLINUX_CALL_execve, CLINUX_CALL_execveat, CLINUX_CALL_fork, CLINUX_CALL_vfork,
    CLINUX_CALL_ptrace, CLINUX_CALL_process_vm_writev, CLINUX_CALL_pidfd_getfd,
    CLINUX_CALL_pidfd_send_signal, CLINUX_CALL_kill, CLINUX_CALL_bpf, CLINUX_CALL_perf_event_open,
    CLINUX_CALL_userfaultfd, CLINUX_CALL_io_uring_setup, CLINUX_CALL_setns, CLINUX_CALL_unshare,
    CLINUX_CALL_mount, CLINUX_CALL_umount2, CLINUX_CALL_open_tree, CLINUX_CALL_move_mount,
    CLINUX_CALL_fsopen, CLINUX_CALL_pivot_root, CLINUX_CALL_chroot, CLINUX_CALL_open_by_handle_at,
    CLINUX_CALL_init_module, CLINUX_CALL_finit_module, CLINUX_CALL_delete_module,
    CLINUX_CALL_kexec_load, CLINUX_CALL_reboot, CLINUX_CALL_swapon, CLINUX_CALL_add_key,
    CLINUX_CALL_request_key, CLINUX_CALL_keyctl, CLINUX_CALL_capset, CLINUX_CALL_setuid,
    CLINUX_CALL_setgid, CLINUX_CALL_setresuid, CLINUX_CALL_setresgid, CLINUX_CALL_setgroups,
    CLINUX_CALL_personality, CLINUX_CALL_iopl, CLINUX_CALL_ioperm, CLINUX_CALL_modify_ldt,
  ]

  private mutating func restrict(_ process: Int32) {
    // Sends packets, but to no address: AF_XDP and packet sockets are bound.
    allow(CLINUX_CALL_sendto, if: [Condition(argument: 4, value: 0, high: 0)])
    let own = Condition(argument: 0, value: UInt32(bitPattern: process))
    // Threads but no processes: CLONE_THREAD must be set.
    allow(CLINUX_CALL_clone, if: [Condition(argument: 0, mask: 0x1_0000, value: 0x1_0000)])
    let data = [Condition(argument: 2, mask: UInt32(PROT_EXEC), value: 0)]
    allow(CLINUX_CALL_mmap, if: data)
    allow(CLINUX_CALL_mprotect, if: data)
    // No SOCK_DGRAM: an end of such a pair can send to any address.
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
      allow(
        CLINUX_CALL_socketpair,
        if: [
          Condition(argument: 0, value: UInt32(AF_UNIX)),
          Condition(argument: 1, mask: 0xf, value: UInt32(kind.rawValue)),
        ])
    }
    // Signals to the broker itself, for abort(3).
    allow(CLINUX_CALL_tgkill, if: [own])
    allow(CLINUX_CALL_process_vm_readv, if: [own])
    // The broker may read limits, and may set its own limit of open files.
    allow(CLINUX_CALL_prlimit64, if: [Condition(argument: 2, value: 0, high: 0)])
    allow(
      CLINUX_CALL_prlimit64,
      if: [
        Condition(argument: 0, value: 0),
        Condition(argument: 1, value: UInt32(RLIMIT_NOFILE.rawValue)),
      ])
    // Whether an interface still exists, whether a peer has received its mail, and which user
    // namespace and user a network namespace belongs to (NS_GET_USERNS, NS_GET_OWNER_UID).
    for request in [CLINUX_SIOCGIFNAME, CLINUX_SIOCOUTQ, 0xb701, 0xb704] {
      allow(CLINUX_CALL_ioctl, if: [Condition(argument: 1, value: UInt32(request))])
    }
    for option in [CLINUX_PR_SET_NAME, CLINUX_PR_SET_VMA] {
      allow(CLINUX_CALL_prctl, if: [Condition(argument: 0, value: UInt32(option))])
    }
    for command in [
      F_DUPFD, CInt(CLINUX_F_DUPFD_CLOEXEC), F_GETFD, F_SETFD, F_GETFL, F_SETFL,
      CInt(CLINUX_F_ADD_SEALS), CInt(CLINUX_F_GET_SEALS),
    ] {
      allow(CLINUX_CALL_fcntl, if: [Condition(argument: 1, value: UInt32(command))])
    }
  }

  // MARK: - Instructions

  private mutating func load<T: BinaryInteger>(_ offset: T) {
    program.append(
      sock_filter(code: UInt16(BPF_LD | BPF_W | BPF_ABS), jt: 0, jf: 0, k: UInt32(offset)))
  }

  private mutating func give(_ result: UInt32) {
    program.append(sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: result))
  }

  private static func jump(
    _ comparison: Int32, _ value: UInt32, then: UInt8, otherwise: UInt8
  ) -> sock_filter {
    sock_filter(code: UInt16(BPF_JMP | comparison | BPF_K), jt: then, jf: otherwise, k: value)
  }

  private mutating func answer<T: BinaryInteger>(_ call: T, _ result: UInt32) {
    guard call >= 0 else { return }
    program.append(Self.jump(BPF_JEQ, UInt32(call), then: 0, otherwise: 1))
    give(result)
  }

  private mutating func allow<T: BinaryInteger>(_ call: T) { answer(call, CLINUX_SECCOMP_ALLOW) }

  /// Allows a call whose arguments meet all conditions.
  ///
  /// Expects the call's number to be loaded, and loads it again afterwards.
  private mutating func allow<T: BinaryInteger>(_ call: T, if conditions: [Condition]) {
    guard call >= 0 else { return }
    var tests: [sock_filter] = []
    for condition in conditions {
      // Little-endian: the low half comes first.
      let place = UInt32(CLINUX_SECCOMP_ARGUMENTS) + UInt32(condition.argument) * 8
      func test(_ offset: UInt32, _ mask: UInt32, _ value: UInt32) {
        tests.append(
          sock_filter(code: UInt16(BPF_LD | BPF_W | BPF_ABS), jt: 0, jf: 0, k: offset))
        if mask != .max {
          tests.append(
            sock_filter(code: UInt16(BPF_ALU | BPF_AND | BPF_K), jt: 0, jf: 0, k: mask))
        }
        // The jump offset is filled in below, when the number of tests is known.
        tests.append(Self.jump(BPF_JEQ, value, then: 0, otherwise: 0))
      }
      test(place, condition.mask, condition.value)
      if let high = condition.high { test(place + 4, .max, high) }
    }
    for index in tests.indices where tests[index].code == UInt16(BPF_JMP | BPF_JEQ | BPF_K) {
      // Jump over the remaining tests and the return, to where the call's number is loaded again.
      tests[index].jf = UInt8(tests.count - index)
    }
    program.append(
      Self.jump(BPF_JEQ, UInt32(call), then: 0, otherwise: UInt8(tests.count + 2)))
    program += tests
    give(CLINUX_SECCOMP_ALLOW)
    load(CLINUX_SECCOMP_CALL)
  }
}
