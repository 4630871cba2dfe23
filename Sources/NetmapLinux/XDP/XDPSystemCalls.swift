internal import CLinux
internal import Glibc

/// What became of a call to the kernel.
enum XDPKick {
  /// Whatever could be done was done; what could not is queued still, and no error.
  case done
  /// The kernel took some, and has more to do.
  case more
  /// The socket's interface has gone.
  case gone
}

// System calls, which the compiler cannot follow: nothing else here may allocate or count references.
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

  /// Has the kernel look at the fill ring again: recvfrom(2) without room for data.
  @_semantics("no_performance_analysis")
  @inline(never)
  func kickReceive() -> XDPKick {
    let result = unsafe recvfrom(file, nil, 0, CInt(MSG_DONTWAIT), nil, nil)
    return result < 0 && (errno == ENXIO || errno == EBADF) ? .gone : .done
  }

  /// How often the kernel is asked for its statistics at most, nanoseconds. The clock is read at each sync,
  /// without a system call; its own resolution is a few milliseconds.
  private static var statisticsInterval: UInt64 { 10_000_000 }

  /// Asks for `XDP_STATISTICS`, not too often.
  ///
  /// - Parameters:
  ///   - state: Says what was counted before, and when.
  ///   - isTransmit: Which direction's losses to look at.
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
    // An empty fill ring is counted under rx_dropped as well.
    let lost =
      isTransmit
      ? statistics.tx_invalid_descs
      : statistics.rx_dropped &+ statistics.rx_ring_full &+ statistics.rx_invalid_descs
    let counted = unsafe state.lost
    unsafe state.lost = lost
    return lost > counted ? lost &- counted : 0
  }
}
