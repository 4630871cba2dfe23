/// What a wait asks for, and what it found: poll(2)'s POLLIN, POLLOUT and POLLERR on a netmap port.
@frozen
public struct Readiness: OptionSet, Hashable, Sendable {
  public let rawValue: UInt8

  @inlinable
  public init(rawValue: UInt8) {
    self.rawValue = rawValue
  }

  /// Some receive ring has packets past `cur`.
  public static let receive = Readiness(rawValue: 1)
  /// Some transmit ring has free slots past `cur`.
  public static let transmit = Readiness(rawValue: 2)
  /// A ring had to be reset, or the backend failed. Reported whether asked for or not.
  public static let error = Readiness(rawValue: 4)
}

extension AttachedPort {
  /// One evaluation of poll(2) on the port: it syncs, and says what is ready afterwards.
  ///
  /// As netmap does: waiting for anything also sends what is pending on the transmit rings, unless
  /// the port was opened with `NR_NO_TX_POLL`; waiting for output alone never touches receive rings;
  /// a direction that finds nothing is tried twice.
  package func scan(_ wanted: Readiness) -> Readiness {
    var passedOver = false
    return scan(wanted, passedOver: &passedOver)
  }

  /// The same, saying also whether a ring was left out because another thread was syncing it.
  ///
  /// - Parameters:
  ///   - wanted: What to look for.
  ///   - passedOver: Set when a ring was left out: that sync may have looked before what came last, and
  ///     its thread tells nobody, so whoever sleeps now may miss it.
  /// - Returns: What is ready.
  package func scan(_ wanted: Readiness, passedOver: inout Bool) -> Readiness {
    var ready: Readiness = isAbandoned ? .error : []
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
        // Nothing to send here, and space has been found elsewhere or nobody asked for it.
        if !searching, unsafe ring.kring.hasTaken(upTo: ring.ring.head) { continue }
        // The second pass only looks for space; the first has sent everything.
        if pass == 1, !searching { return }
        switch unsafe ring.synchronize([]) {
        case .busy:
          passedOver = true
          continue
        case .reset, .failed: ready.insert(.error)
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
      case .reset, .failed: ready.insert(.error)
      case .done: break
      }
      if unsafe ring.kring.isReady { ready.insert(.receive) }
    }
  }

  /// Announces a sleeper on every ring it waits for.
  ///
  /// - Returns: False when some ring has too many sleepers to be sure of a wake-up.
  package func arm(_ wanted: Readiness, as sleeper: Announcement) -> Bool {
    var sure = true
    unsafe forEachRing(wanted) { ring in
      if unsafe !ring.waitWord.arm(sleeper) { sure = false }
    }
    if !wanted.contains(.transmit) {
      // What a switch's receiver had no room for is sent when it has, whatever else is waited for.
      for index in 0..<transmitCount where unsafe transmit(index).isHeldUp {
        if unsafe !transmit(index).waitWord.arm(sleeper) { sure = false }
      }
    }
    return sure
  }

  /// Counts a sleep on every ring that is waited for.
  package func countSleep(_ wanted: Readiness) {
    unsafe forEachRing(wanted) { ring in unsafe ring.kring.count(.sleeps) }
  }

  /// Takes the announcement back.
  package func disarm(_ wanted: Readiness, as sleeper: Announcement) {
    unsafe forEachRing(wanted) { ring in unsafe ring.waitWord.disarm(sleeper) }
    if !wanted.contains(.transmit) {
      for index in 0..<transmitCount where unsafe transmit(index).kind == .bridge {
        unsafe transmit(index).waitWord.disarm(sleeper)
      }
    }
  }

  private func forEachRing(_ wanted: Readiness, _ body: (AttachedRing) -> Void) {
    if wanted.contains(.transmit) {
      for index in 0..<transmitCount { unsafe body(transmit(index)) }
    }
    if wanted.contains(.receive) {
      for index in 0..<receiveCount { unsafe body(receive(index)) }
    }
  }
}
