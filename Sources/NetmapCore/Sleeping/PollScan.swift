/// The conditions that a wait asks for or finds: poll(2)'s POLLIN, POLLOUT and POLLERR for a netmap port.
@frozen
public struct Readiness: OptionSet, Hashable, Sendable {
  public let rawValue: UInt8

  @inlinable
  public init(rawValue: UInt8) {
    self.rawValue = rawValue
  }

  /// Some receive ring has packets past `cur`.
  @inlinable
  public static var receive: Readiness { Readiness(rawValue: 1) }
  /// Some transmit ring has free slots past `cur`.
  @inlinable
  public static var transmit: Readiness { Readiness(rawValue: 2) }
  /// A ring was reset, or the backend failed.
  ///
  /// Reported whether requested or not.
  @inlinable
  public static var error: Readiness { Readiness(rawValue: 4) }
}

extension MappedPort {
  /// Evaluates poll(2) once for the port: syncs rings, and returns the conditions that hold afterwards.
  ///
  /// As in netmap, waiting for any event also sends the pending slots of the transmit rings, unless the port was
  /// opened with `NR_NO_TX_POLL`. Waiting for output alone never touches receive rings. A direction in which
  /// nothing is ready is tried twice.
  package func scan(_ wanted: Readiness) -> Readiness {
    var passedOver = false
    return scan(wanted, passedOver: &passedOver)
  }

  /// Evaluates poll(2) once, and reports whether it skipped a ring that another thread was syncing.
  ///
  /// - Parameters:
  ///   - wanted: The conditions to check.
  ///   - passedOver: Set to true when a ring was skipped. The other thread's sync may have missed the latest
  ///     progress, and that thread wakes no sleeper, so a caller that sleeps now may miss the progress.
  /// - Returns: The conditions that hold.
  package func scan(_ wanted: Readiness, passedOver: inout Bool) -> Readiness {
    var ready: Readiness = refusesWaits ? .error : []
    // Control blocks drive the rings.
    guard !refusesWaits || isAbandoned else { return ready }
    if wanted.contains(.transmit) || !record.flags.contains(.noTransmitPoll) {
      scanTransmit(wanted.contains(.transmit), &ready, &passedOver)
    }
    if wanted.contains(.receive) {
      for _ in 0..<2 where !ready.contains(.receive) { scanReceive(&ready, &passedOver) }
    }
    return ready
  }

  private func scanTransmit(
    _ wantsSpace: Bool, _ ready: inout Readiness, _ passedOver: inout Bool
  ) {
    for pass in 0..<2 {
      for index in 0..<transmitCount {
        let ring = unsafe transmit(index)
        let searching = wantsSpace && !ready.contains(.transmit)
        // This ring has nothing to send, and space is not wanted or already found on another ring.
        if !searching, unsafe ring.kring.hasTaken(upTo: ring.ring.head) { continue }
        // The second pass only searches for space; the first pass has sent everything.
        if pass == 1, !searching { return }
        switch unsafe ring.synchronize([]) {
        case .busy:
          passedOver = true
          continue
        case .reset, .failed, .stopped: ready.insert(.error)
        case .done: break
        }
        if wantsSpace, unsafe ring.kring.isReady { ready.insert(.transmit) }
      }
      if !wantsSpace || ready.contains(.transmit) { return }
    }
  }

  private func scanReceive(_ ready: inout Readiness, _ passedOver: inout Bool) {
    for index in 0..<receiveCount {
      let ring = unsafe receive(index)
      switch unsafe ring.synchronize([]) {
      case .busy:
        passedOver = true
        continue
      case .reset, .failed, .stopped: ready.insert(.error)
      case .done: break
      }
      if unsafe ring.kring.isReady { ready.insert(.receive) }
    }
  }

  /// Announces a sleeper on every ring that it waits for.
  ///
  /// - Returns: False when no wake-up is guaranteed: a ring has too many sleepers, or makes progress without wake-ups
  ///   (``BriefSleep``).
  package func arm(_ wanted: Readiness, as sleeper: Announcement) -> Bool {
    var sure = true
    unsafe forEachRing(wanted) { ring in
      if unsafe !ring.waitWord.arm(sleeper) { sure = false }
      if let mark = unsafe ring.backend.briefSleep, unsafe mark.isDemanded { sure = false }
    }
    if !wanted.contains(.transmit) {
      // A transmit ring may hold packets for which a receiver on the switch had no room. They are sent as soon as
      // there is room, whatever else the sleeper waits for.
      for index in 0..<transmitCount where unsafe transmit(index).isHeldUp {
        if unsafe !transmit(index).waitWord.arm(sleeper) { sure = false }
      }
    }
    return sure
  }

  /// Counts a sleep on every ring that the sleeper waits for.
  package func countSleep(_ wanted: Readiness) {
    unsafe forEachRing(wanted) { ring in unsafe ring.kring.count(.sleeps) }
  }

  /// Withdraws the announcement.
  package func disarm(_ wanted: Readiness, as sleeper: Announcement) {
    unsafe forEachRing(wanted) { ring in unsafe ring.waitWord.disarm(sleeper) }
    if !wanted.contains(.transmit) {
      for index in 0..<transmitCount where unsafe transmit(index).kind == .vale {
        unsafe transmit(index).waitWord.disarm(sleeper)
      }
    }
  }

  private func forEachRing(_ wanted: Readiness, _ body: (MappedRing) -> Void) {
    if wanted.contains(.transmit) {
      for index in 0..<transmitCount { unsafe body(transmit(index)) }
    }
    if wanted.contains(.receive) {
      for index in 0..<receiveCount { unsafe body(receive(index)) }
    }
  }
}
