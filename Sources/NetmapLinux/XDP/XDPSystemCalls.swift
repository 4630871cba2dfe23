internal import CLinux
internal import Glibc

/// The result of a call to the kernel.
enum XDPKick {
  /// The kernel has done what it could. The rest stays in the ring, which is no error.
  case done
  /// The kernel took some frames, and has more to do.
  case more
  /// The socket's interface has disappeared.
  case gone
}

// System calls, which the compiler cannot analyze. Nothing else here may allocate or count references.
extension XDPCommon {
  /// Sends what is in the transmit ring: sendto(2) without data.
  @_semantics("no_performance_analysis")
  @inline(never)
  func kickTransmit() -> XDPKick {
    let result = unsafe sendto(file, nil, 0, CInt(MSG_DONTWAIT), nil, 0)
    if result >= 0 { return .done }
    switch errno {
    case ENXIO, EBADF: return .gone
    // The budget of one call is used up, or the driver's queue is full for now.
    case EAGAIN: return .more
    // EBUSY, ENOBUFS: nothing can be sent now. ENETDOWN: the interface is down and may come up again.
    default: return .done
    }
  }

  /// Makes the kernel look at the fill ring again: recvfrom(2) without room for data.
  @_semantics("no_performance_analysis")
  @inline(never)
  func kickReceive() -> XDPKick {
    let result = unsafe recvfrom(file, nil, 0, CInt(MSG_DONTWAIT), nil, nil)
    return result < 0 && (errno == ENXIO || errno == EBADF) ? .gone : .done
  }

  /// The shortest time between two requests for the kernel's statistics, nanoseconds. Each sync reads the clock,
  /// without a system call. The clock's own resolution is a few milliseconds.
  private static var statisticsInterval: UInt64 { 10_000_000 }

  /// Asks the kernel for `XDP_STATISTICS`, at most once per `statisticsInterval`.
  ///
  /// - Parameters:
  ///   - state: Remembers what was counted before, and when.
  ///   - isTransmit: Whether to count the losses of the transmit direction, or of the receive direction.
  /// - Returns: Frames lost since the last time.
  @_semantics("no_performance_analysis")
  @inline(never)
  func newLosses(_ state: XDPStateWords, transmit isTransmit: Bool) -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC_COARSE, &time)
    let now =
      UInt64(truncatingIfNeeded: time.tv_sec) &* 1_000_000_000
      &+ UInt64(truncatingIfNeeded: time.tv_nsec)
    guard unsafe now &- state.asked >= Self.statisticsInterval else { return 0 }
    unsafe state.asked = now
    var statistics = xdp_statistics()
    var size = socklen_t(MemoryLayout<xdp_statistics>.size)
    let result = unsafe getsockopt(
      file, CInt(CLINUX_SOL_XDP), CInt(XDP_STATISTICS), &statistics, &size)
    guard result == 0 else { return 0 }
    // The kernel counts frames that found the fill ring empty in rx_dropped as well.
    let lost =
      isTransmit
      ? statistics.tx_invalid_descs
      : statistics.rx_dropped &+ statistics.rx_ring_full &+ statistics.rx_invalid_descs
    let counted = unsafe state.lost
    unsafe state.lost = lost
    return lost > counted ? lost &- counted : 0
  }
}
